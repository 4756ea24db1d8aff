package evidence

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/attest"
)

func publicPEM(t *testing.T, key any, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// A key that is not understood is an error, never a key that trusts nobody.
func TestParseKeys(t *testing.T) {
	t.Parallel()
	good := attest.ECDSA(t).Public
	wide, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	wideText := publicPEM(t, wide.Public(), err)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	shortText := publicPEM(t, short.Public(), err)
	may := []any{"scan"}
	for name, tt := range map[string]struct {
		value any
		want  string // "" is none
	}{
		"none":           {nil, ""},
		"good":           {map[string]any{"ci": map[string]any{"public_key": good, "may": may}}, ""},
		"no table":       {[]any{}, "want a mapping"},
		"no fields":      {map[string]any{"ci": good}, "ci: want {public_key"},
		"another field":  {map[string]any{"ci": map[string]any{"publicKey": good, "may": may}}, "publicKey: no such field"},
		"may nothing":    {map[string]any{"ci": map[string]any{"public_key": good}}, "may: want some of"},
		"may what":       {map[string]any{"ci": map[string]any{"public_key": good, "may": []any{"scans"}}}, `not "scans"`},
		"builders":       {map[string]any{"ci": map[string]any{"public_key": good, "may": may, "builders": "x"}}, "builders: want a list"},
		"no key":         {map[string]any{"ci": map[string]any{"may": may}}, "public_key: want a PEM block"},
		"two keys":       {map[string]any{"ci": map[string]any{"public_key": good + good, "may": may}}, "public_key: want a PEM block"},
		"another curve":  {map[string]any{"ci": map[string]any{"public_key": wideText, "may": may}}, "ECDSA on P-256"},
		"a short key":    {map[string]any{"ci": map[string]any{"public_key": shortText, "may": may}}, "2048 bits"},
		"broken inside":  {map[string]any{"ci": map[string]any{"public_key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "may": may}}, "public_key: want a PEM block"},
		"both are named": {map[string]any{"a": 1, "b": 2}, "b: want {public_key"},
	} {
		keys, err := ParseKeys(tt.value)
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || keys != nil):
			t.Errorf("%s: %v, %v; want %s", name, keys, err, tt.want)
		}
	}
}
