package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestAuthorityIsKeptAndVouches(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := OpenAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	server, err := first.Issue("server", Subject{Name: "server", Hosts: []string{"127.0.0.1", "api.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	client, err := again.Issue("client", Subject{Name: "someone", Groups: []string{"some"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		pair  Pair
		host  string
		usage x509.ExtKeyUsage
		ok    bool
	}{
		{server, "127.0.0.1", x509.ExtKeyUsageServerAuth, true},
		{server, "api.example.org", x509.ExtKeyUsageServerAuth, true},
		{server, "example.org", x509.ExtKeyUsageServerAuth, false},
		{server, "", x509.ExtKeyUsageClientAuth, false},
		{client, "", x509.ExtKeyUsageClientAuth, true},
		{client, "", x509.ExtKeyUsageServerAuth, false},
	} {
		pair, err := tls.LoadX509KeyPair(tc.pair.Cert, tc.pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: again.Pool(), DNSName: tc.host, KeyUsages: []x509.ExtKeyUsage{tc.usage}})
		if (err == nil) != tc.ok {
			t.Errorf("%s as %q: %v, want ok %v", tc.pair.Cert, tc.host, err, tc.ok)
		}
	}
	before, err := os.ReadFile(server.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue("server", Subject{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(server.Cert); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a certificate that was there was replaced: %v", err)
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := again.WriteKubeconfig(kubeconfig, "https://127.0.0.1:1", client); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil || config.Host != "https://127.0.0.1:1" || len(config.CertData) == 0 || len(config.CAData) == 0 {
		t.Errorf("kubeconfig %+v, %v", config, err)
	}
	if info, err := os.Stat(client.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key can be read by others: %v, %v", info.Mode(), err)
	}
}

func TestBrokenAuthorityIsNotReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(dir, "ca"); err == nil {
		t.Error("a broken certificate was taken, or replaced under those who trust it")
	}
}
