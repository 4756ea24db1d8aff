package network

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func testCertificate(t *testing.T, host string, ends time.Time) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: ends.Add(-time.Hour), NotAfter: ends, DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}
}

func TestTunnels(t *testing.T) {
	t.Parallel()
	mounts := func(name, ip, secret string) *corev1.Pod {
		p := testPod(name, ip, "x:1")
		p.Spec.Volumes = []corev1.Volume{{Name: "other"}, {Name: "tls", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
		return p
	}
	n, client, _ := play(t, mounts("a", "10.244.1.1", "cert"), mounts("b", "10.244.1.2", "opaque"), mounts("c", "10.244.1.3", "torn"))
	ends := time.Now().Add(50 * time.Hour).Truncate(time.Second)
	secrets := map[string]*corev1.Secret{
		"cert":   {Type: corev1.SecretTypeTLS, Data: testCertificate(t, "a.shop.svc", ends)},
		"opaque": {Type: corev1.SecretTypeOpaque}, "torn": {ObjectMeta: metav1.ObjectMeta{Name: "torn"}, Type: corev1.SecretTypeTLS},
	}
	n.WithSecrets(func(_ context.Context, namespace, name string) (*corev1.Secret, error) {
		if namespace != "shop" || secrets[name] == nil {
			return nil, errors.New("not found")
		}
		return secrets[name], nil
	})
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // what it is worth is not asked here
	for range 2 {
		response, err := client.Get("https://10.244.1.1:8080/x")
		if err != nil {
			t.Fatal(err)
		}
		if got := response.TLS.PeerCertificates[0]; response.StatusCode != 200 || !got.NotAfter.Equal(ends) {
			t.Errorf("status %d, certificate until %s", response.StatusCode, got.NotAfter)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for address, says := range map[string]string{
		"https://10.244.1.2:8080/": "Service Unavailable", "https://10.244.1.3:8080/": "Service Unavailable", "https://example.org/": "Forbidden",
	} {
		if _, err := client.Get(address); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %s", address, err, says)
		}
	}
}
