package policy

import (
	"regexp"
	"strings"
)

// The ways in which texts name buckets and servers of databases. A scheme may
// name its driver (postgresql+asyncpg), and stand in capitals.
var (
	storeURL   = regexp.MustCompile(`(?i)\b(s3a?|gs|abfss?|wasbs)://([A-Za-z0-9][A-Za-z0-9.@_-]*)(/[^\s"'?,;]*)?`)
	dataServer = []*regexp.Regexp{
		regexp.MustCompile(`(?i)\b(?:postgres|postgresql|mysql|mariadb|mongodb|redis|rediss|amqps?|sqlserver|mssql|cassandra|clickhouse|oracle)` +
			`(?:\+\w+)*://(?:[^\s/@"']*@)?([A-Za-z0-9._:,\[\]-]+)`),
		regexp.MustCompile(`(?i)\bjdbc:oracle:\w+:(?:[^\s@"']*)@(?://)?([A-Za-z0-9._-]+)`),
		regexp.MustCompile(`(?i)@tcp\(([A-Za-z0-9._:-]+)\)`),
		regexp.MustCompile(`(?i)(?:^|[\s;"'])(?:host|server|data source)=([A-Za-z0-9._:,-]+)[;\s](?:.*[;\s])?(?:dbname|database|initial catalog)=`),
		regexp.MustCompile(`(?i)\b(?:dbname|database|initial catalog)=[^;\s]+[;\s](?:.*[;\s])?(?:host|server|data source)=([A-Za-z0-9._:,-]+)`),
	}
	hostPort   = regexp.MustCompile(`:[0-9]+$`)
	serverName = regexp.MustCompile(`(?i)(^|[_.-])(db|database|sql|postgres|postgresql|pg|mysql|mariadb|mongo|mongodb|redis)[_.-]?(host|hostname|server|endpoint|addr|address)$`)
	plainHost  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?$`)
)

// maxURLText is as much as an object of Kubernetes can hold.
const maxURLText = 1 << 20

// urls finds the servers and buckets that a text names. A text that is too long
// to be read is said to be.
func (r *references) urls(text, key, path string) {
	if len(text) > maxURLText {
		r.add(ReferenceUnread, "", "", path)
		return
	}
	if !strings.ContainsAny(text, ":=") {
		return
	}
	for _, m := range storeURL.FindAllStringSubmatch(text, maxReferences+1) {
		r.add(ReferenceBucket, m[2]+strings.TrimSuffix(m[3], "/"), key, path)
	}
	for _, written := range dataServer {
		for _, m := range written.FindAllStringSubmatch(text, maxReferences+1) {
			r.servers(m[1], key, path)
		}
	}
}

// server reads a setting that is named as the server of a database.
func (r *references) server(name, value, key, path string) {
	if value = strings.TrimSpace(value); serverName.MatchString(name) && plainHost.MatchString(value) {
		r.servers(value, key, path)
	}
}

func (r *references) servers(list, key, path string) {
	for host := range strings.SplitSeq(list, ",") {
		if host = hostPort.ReplaceAllString(host, ""); host != "" && host != "localhost" && !strings.HasPrefix(host, "127.") {
			r.add(ReferenceDatabase, r.host(host), key, path)
		}
	}
}
