package containerlog

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment is a container's, as its kubelet would have made it now. What cannot be read is
// left out.
type environment struct {
	ctx    context.Context
	client kubernetes.Interface
	pod    *corev1.Pod
	values map[string]string
}

func environmentOf(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, c *corev1.Container) *environment {
	e := &environment{ctx, client, pod, map[string]string{"HOSTNAME": pod.Name}}
	for _, from := range c.EnvFrom {
		switch {
		case from.SecretRef != nil:
			e.addAll(from.Prefix, e.secret(from.SecretRef.Name))
		case from.ConfigMapRef != nil:
			e.addAll(from.Prefix, e.configMap(from.ConfigMapRef.Name))
		}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			e.values[v.Name] = e.expand(v.Value)
		} else if value, ok := e.from(v.ValueFrom); ok {
			e.values[v.Name] = value
		}
	}
	return e
}

// expand leaves what is not set as it is written.
func (e *environment) expand(text string) string {
	return expansion.Expand(text, expansion.MappingFuncFor(e.values))
}

func (e *environment) addAll(prefix string, values map[string]string) {
	for name, value := range values {
		e.values[prefix+name] = value
	}
}

func (e *environment) from(source *corev1.EnvVarSource) (value string, ok bool) {
	switch {
	case source.SecretKeyRef != nil:
		value, ok = e.secret(source.SecretKeyRef.Name)[source.SecretKeyRef.Key]
	case source.ConfigMapKeyRef != nil:
		value, ok = e.configMap(source.ConfigMapKeyRef.Name)[source.ConfigMapKeyRef.Key]
	case source.FieldRef != nil:
		value, ok = map[string]string{
			"metadata.name": e.pod.Name, "metadata.namespace": e.pod.Namespace, "status.podIP": e.pod.Status.PodIP,
		}[source.FieldRef.FieldPath]
	}
	return value, ok
}

func (e *environment) secret(name string) map[string]string {
	secret, err := e.client.CoreV1().Secrets(e.pod.Namespace).Get(e.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	values := map[string]string{}
	for key, value := range secret.Data {
		values[key] = string(value)
	}
	return values
}

func (e *environment) configMap(name string) map[string]string {
	config, err := e.client.CoreV1().ConfigMaps(e.pod.Namespace).Get(e.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return config.Data
}
