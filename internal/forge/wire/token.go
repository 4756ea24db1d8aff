package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode"

	"chaperone.dev/chaperone/internal/forge"
)

const maxToken = 64 << 10

// TokenFile reads the token anew each time it is asked, so that a rotated one is
// used from the next request on.
func TokenFile(name string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) {
		token, err := readToken(name)
		if err != nil {
			return "", fmt.Errorf("%w: token file %s: %w", forge.ErrUnauthorised, name, err)
		}
		return token, nil
	}
}

func readToken(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		var inner *fs.PathError
		if errors.As(err, &inner) {
			return "", inner.Err
		}
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxToken+1))
	token := strings.TrimSpace(string(content))
	switch {
	case err != nil:
		return "", errors.New("it cannot be read")
	case len(content) > maxToken:
		return "", fmt.Errorf("want at most %d bytes", maxToken)
	case token == "":
		return "", errors.New("it is empty")
	case strings.ContainsFunc(token, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r > unicode.MaxASCII }):
		return "", errors.New("want the token alone, one word")
	}
	return token, nil
}
