package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func configOf(name, data string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata:\n" + data + "---\n"
}

// However a server is written, it is found.
func TestWaysToWriteAServer(t *testing.T) {
	t.Parallel()
	texts := []string{}
	for _, url := range []string{
		"postgresql+asyncpg://u@prod-db.example.org/x", "POSTGRES://prod-db.example.org/x", "mysql+pymysql://prod-db.example.org/x",
		"mssql://prod-db.example.org/x", "jdbc:sqlserver://prod-db.example.org;x", "jdbc:oracle:thin:@prod-db.example.org:1521/x",
		"host=prod-db.example.org dbname=x", "Database=x;Server=prod-db.example.org,1433;", "u:p@tcp(prod-db.example.org:3306)/x",
		strings.Repeat("#", 70<<10) + " postgres://prod-db.example.org/x", strings.Repeat("postgres://x/ ", 60) + "postgres://prod-db.example.org/x",
	} {
		texts = append(texts, configOf("a", "  url: \""+url+"\"\n"))
	}
	container := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, %s}]}\n"
	texts = append(texts, configOf("a", "  DB_HOST: prod-db.example.org\n"),
		fmt.Sprintf(container, `args: ["--db=postgres://prod-db.example.org/x"]`),
		fmt.Sprintf(container, `command: [sh, -c, "psql postgres://prod-db.example.org/x"]`),
		fmt.Sprintf(container, `env: [{name: POSTGRES_HOST, value: prod-db.example.org}]`))
	for _, text := range texts {
		found := referencesIn(t, "", "n", text)
		if !slices.ContainsFunc(found, func(r Reference) bool { return r.What == ReferenceDatabase && r.Identity == "prod-db.example.org" }) {
			t.Errorf("not seen in %.300s: %d references", text, len(found))
		}
	}
}

// What is not read is said not to be: nothing hides behind many others.
func TestMoreThanIsRead(t *testing.T) {
	t.Parallel()
	var many, same strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&many, "  k%04d: s3://bucket-%04d\n", i, i)
		fmt.Fprintf(&same, "s3://x ")
	}
	unread := func(text string) (n int) {
		for _, r := range referencesIn(t, "", "n", text) {
			if r.What == ReferenceUnread {
				n++
			}
		}
		return n
	}
	if got := unread(configOf("a", many.String())); got != 1 {
		t.Errorf("of 6000 references: %d that say so, want 1", got)
	}
	if got := unread(configOf("a", "  url: "+same.String()+"\n")); got != 0 {
		t.Errorf("of one reference 6000 times: %d, want none", got)
	}
	if got := unread(configOf("a", "  url: \""+strings.Repeat("#", maxURLText+1)+"\"\n")); got != 1 {
		t.Errorf("of a text that is too long: %d, want 1", got)
	}
}
