package state

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

const (
	logType  = corev1.SecretType("chaperone.dev/log")
	logLabel = "chaperone.dev/log"
	logKey   = "log"
	maxLog   = 64 << 10

	logSuffix = "-log"
)

func logName(r Release) string { return releaseObject(r).Name + logSuffix }

// putLog keeps a log in a Secret beside the release, which goes with it: fewer
// may read Secrets than releases, and what an application writes is its own.
func (s *Store) putLog(ctx context.Context, r Release) error {
	name := logName(r)
	owner, err := s.releases().Get(ctx, releaseObject(r).Name, metav1.GetOptions{})
	if err != nil {
		return classify("write", "Secret/"+name, err)
	}
	marks := labelsOf(r.Environment)
	marks[logLabel] = "true"
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace, Labels: marks, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release", Name: owner.GetName(), UID: owner.GetUID()}}},
		Type: logType, Data: map[string][]byte{logKey: []byte(r.Log[:min(len(r.Log), maxLog)])},
	}
	_, err = s.core.CoreV1().Secrets(s.namespace).Create(ctx, secret, creating())
	if apierrors.IsAlreadyExists(err) {
		err = s.addLog(ctx, name, r.Log)
	}
	return classify("write", "Secret/"+name, err)
}

// addLog keeps what another Job of the release wrote, its rollback hook perhaps,
// after what is there; not what an attempt whose answer was lost has written.
func (s *Store) addLog(ctx context.Context, name, log string) error {
	secret, err := s.core.CoreV1().Secrets(s.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil || strings.Contains(string(secret.Data[logKey]), log) {
		return err
	}
	whole := string(secret.Data[logKey]) + "\n" + log
	secret.Data = map[string][]byte{logKey: []byte(strings.ToValidUTF8(whole[max(0, len(whole)-maxLog):], ""))}
	_, err = s.core.CoreV1().Secrets(s.namespace).Update(ctx, secret, updating())
	return err
}

// Logs are those that are kept of an environment's releases, by LogOf. Who may
// not read Secrets gets none.
func (s *Store) Logs(ctx context.Context, id promotion.ID) (map[string]string, error) {
	wanted := labelsOf(id)
	wanted[logLabel] = "true"
	list, err := s.core.CoreV1().Secrets(s.namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(wanted).String()})
	if apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, classify("list", "logs of releases", err)
	}
	logs := map[string]string{}
	for _, secret := range list.Items {
		logs[secret.Name] = string(secret.Data[logKey])
	}
	return logs, nil
}

// LogOf is the log of one release among Logs.
func LogOf(logs map[string]string, r Release) string { return logs[logName(r)] }
