// Package pki makes the certificates and kubeconfigs of one local cluster.
//
// Everything is written below one directory with mode 0600 and is read back when the
// directory is used again, so that a kubeconfig stays valid across a restart.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Validity is long enough for any session and short enough to be of no use elsewhere.
const Validity = 14 * 24 * time.Hour

// Authority is a certificate authority whose files are DIR/NAME.crt and DIR/NAME.key.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

// Pair names the two files of one certificate.
type Pair struct{ Cert, Key string }

// Subject describes a certificate to issue.
type Subject struct {
	Name   string // common name: the Kubernetes user
	Groups []string
	Hosts  []string // names and addresses; a certificate with hosts is a server's
}

// OpenAuthority reads the authority called name in dir, or makes it.
func OpenAuthority(dir, name string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	a := &Authority{dir: dir, file: filepath.Join(dir, name+".crt")}
	keyFile := filepath.Join(dir, name+".key")
	err := a.load(keyFile)
	if err == nil {
		return a, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("certificate authority %s: %w", a.file, err)
	}
	if err := a.create(name, keyFile); err != nil {
		return nil, fmt.Errorf("certificate authority %s: %w", a.file, err)
	}
	return a, nil
}

// File is the path of the authority's certificate.
func (a *Authority) File() string { return a.file }

// Pool holds the authority's certificate alone.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *Authority) load(keyFile string) error {
	certPEM, err := os.ReadFile(a.file)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return errors.New("no PEM block")
	}
	if a.cert, err = x509.ParseCertificate(block.Bytes); err != nil {
		return err
	}
	a.key, err = readKey(keyFile)
	return err
}

func (a *Authority) create(name, keyFile string) error {
	key, err := NewKeyFile(keyFile)
	if err != nil {
		return err
	}
	template, err := newTemplate(Subject{Name: "localcluster-" + name})
	if err != nil {
		return err
	}
	template.IsCA = true
	template.ExtKeyUsage = nil // an authority's own usages would bind every certificate below it
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	return writePEM(a.file, "CERTIFICATE", der)
}

// Issue makes a certificate for s, named file.crt and file.key, unless it is there already.
func (a *Authority) Issue(file string, s Subject) (Pair, error) {
	pair := Pair{Cert: filepath.Join(a.dir, file+".crt"), Key: filepath.Join(a.dir, file+".key")}
	if _, err := os.Stat(pair.Cert); err == nil {
		return pair, nil
	}
	key, err := NewKeyFile(pair.Key)
	if err != nil {
		return pair, fmt.Errorf("certificate %s: %w", file, err)
	}
	template, err := newTemplate(s)
	if err != nil {
		return pair, fmt.Errorf("certificate %s: %w", file, err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return pair, fmt.Errorf("certificate %s: %w", file, err)
	}
	if err := writePEM(pair.Cert, "CERTIFICATE", der); err != nil {
		return pair, fmt.Errorf("certificate %s: %w", file, err)
	}
	return pair, nil
}

func newTemplate(s Subject) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.Name, Organization: s.Groups},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(Validity),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, host := range s.Hosts {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template, nil
}

// NewKeyFile writes a new private key to file, or reads the one that is there.
func NewKeyFile(file string) (*ecdsa.PrivateKey, error) {
	if key, err := readKey(file); err == nil {
		return key, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(file, "EC PRIVATE KEY", der)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", file)
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
