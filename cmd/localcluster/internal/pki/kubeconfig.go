package pki

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// WriteKubeconfig writes a self-contained kubeconfig that enters server as the client of pair.
func (a *Authority) WriteKubeconfig(file, server string, pair Pair) error {
	cfg := api.NewConfig()
	cluster, user := api.NewCluster(), api.NewAuthInfo()
	cluster.Server = server
	for _, part := range []struct {
		file string
		into *[]byte
	}{
		{a.file, &cluster.CertificateAuthorityData},
		{pair.Cert, &user.ClientCertificateData},
		{pair.Key, &user.ClientKeyData},
	} {
		data, err := os.ReadFile(part.file)
		if err != nil {
			return fmt.Errorf("kubeconfig %s: %w", file, err)
		}
		*part.into = data
	}
	context := api.NewContext()
	context.Cluster, context.AuthInfo = "localcluster", "admin"
	cfg.Clusters["localcluster"] = cluster
	cfg.AuthInfos["admin"] = user
	cfg.Contexts["localcluster"] = context
	cfg.CurrentContext = "localcluster"
	if err := clientcmd.WriteToFile(*cfg, file); err != nil {
		return fmt.Errorf("kubeconfig %s: %w", file, err)
	}
	return nil
}
