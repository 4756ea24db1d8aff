package controlplane

import (
	"path/filepath"

	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
)

// serviceRange is where cluster IPs come from; its first address is the API server's own service.
const (
	serviceRange = "10.96.0.0/16"
	serviceIP    = "10.96.0.1"
)

// KubeletCaller is the API server towards kubelets.
const KubeletCaller = "kube-apiserver-kubelet-client"

type certificates struct {
	dir                          string
	cluster, frontProxy          *pki.Authority
	serving, aggregator, kubelet pki.Pair
	admin, controller, scheduler pki.Pair
	serviceAccountKey            string
}

func newCertificates(dir string) (*certificates, error) {
	c := &certificates{dir: dir, serviceAccountKey: filepath.Join(dir, "service-accounts.key")}
	var err error
	if c.cluster, err = pki.OpenAuthority(dir, "ca"); err != nil {
		return nil, err
	}
	if c.frontProxy, err = pki.OpenAuthority(dir, "front-proxy-ca"); err != nil {
		return nil, err
	}
	if _, err := pki.NewKeyFile(c.serviceAccountKey); err != nil {
		return nil, err
	}
	masters := []string{"system:masters"}
	for _, issue := range []struct {
		pair    *pki.Pair
		by      *pki.Authority
		file    string
		subject pki.Subject
	}{
		{&c.serving, c.cluster, "apiserver", pki.Subject{Name: "kube-apiserver", Hosts: []string{
			"127.0.0.1", "localhost", serviceIP, "kubernetes", "kubernetes.default",
			"kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}}},
		{&c.aggregator, c.frontProxy, "front-proxy-client", pki.Subject{Name: "front-proxy-client"}},
		{&c.kubelet, c.cluster, "kubelet-client", pki.Subject{Name: KubeletCaller}},
		{&c.admin, c.cluster, "admin", pki.Subject{Name: "localcluster-admin", Groups: masters}},
		// One identity for all controllers: an account for each would cost the start seconds.
		{&c.controller, c.cluster, "controller-manager", pki.Subject{Name: "system:kube-controller-manager", Groups: masters}},
		{&c.scheduler, c.cluster, "scheduler", pki.Subject{Name: "system:kube-scheduler"}},
	} {
		if *issue.pair, err = issue.by.Issue(issue.file, issue.subject); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *certificates) writeKubeconfigs(dir, url string) error {
	for file, pair := range map[string]pki.Pair{
		"kubeconfig":                    c.admin,
		"controller-manager.kubeconfig": c.controller,
		"scheduler.kubeconfig":          c.scheduler,
	} {
		if err := c.cluster.WriteKubeconfig(filepath.Join(dir, file), url, pair); err != nil {
			return err
		}
	}
	return nil
}
