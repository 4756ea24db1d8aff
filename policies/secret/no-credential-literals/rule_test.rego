package secret.no_credential_literals_test

import data.secret.no_credential_literals

findings(name, value) := found if {
	found := no_credential_literals.deny with input.object as {
		"apiVersion": "v1", "kind": "Pod",
		"spec": {"containers": [{"name": "app", "env": [{"name": name, "value": value}]}]},
	}
}

test_names_that_tell_a_credential if {
	every name in ["PASSWORD", "db.password", "MYSQL_ROOT_PASSWORD", "jwtSecret", "API_KEY", "api-key", "AWS_SECRET_ACCESS_KEY", "AUTH_TOKEN", "MYSQL_PWD", "DB_PASS", "AES_KEY", "PASSWORD_1"] {
		count(findings(name, "x7")) == 1
	}
}

test_names_that_tell_something_about_one if {
	every name in ["PASSWORD_FILE", "SECRET_NAME", "TOKEN_TTL", "PASSWORD_MIN_LENGTH", "TOKENIZER", "KEYBOARD", "SECRET_STORE_URL"] {
		findings(name, "x7") == set()
	}
}

test_values_that_tell_a_credential if {
	every value in [
		"AKIAIOSFODNN7EXAMPLE", "postgres://app:x7@db/app", "https://u:p@host/path", "-----BEGIN RSA PRIVATE KEY-----",
		"prefix ghp_0123456789abcdef0123456789abcdef0123 suffix",
	] {
		count(findings("SETTING", value)) == 1
	}
}

test_values_that_do_not if {
	every value in [
		"postgres://db/app", "postgres://$(USER):$(PASSWORD)@db/app", "postgres://app:${PASSWORD}@db/app",
		"https://host:8080/path@2", "redis://:6379", "user@example.org", "http://a:80 and b@c",
	] {
		findings("SETTING", value) == set()
	}
}

test_values_that_only_lead_to_one if {
	every value in ["/var/run/secrets/token", "4096", "1", "30s", "ingress-nginx/webhook-cert", "$PASSWORD", "{{ .Values.password }}"] {
		findings("TOKEN", value) == set()
	}
}

test_lines_with_a_credential if {
	every value in ["a\nspring.datasource.password=hunter2", "db: {password: \"hunter2\"}", "Server=db;Password=hunter2;", "host=db password=hunter2", "app:hunter2@tcp(db:3306)/a", "Authorization: Basic YXBwOmh1bnRlcjI="] {
		count(findings("SETTING", value)) == 1
	}
}

test_lines_without if {
	every value in ["password: string", "password = os.environ[\"A\"]", "password=self.password", "password=$DB_PASSWORD", "password_file: /a/b", "password: ${PASSWORD}", "https://user:password@example.com/ is an example"] {
		findings("SETTING", value) == set()
	}
}

test_message_never_quotes_the_value if {
	every f in findings("PASSWORD", "canary-x7") {
		not contains(f.msg, "canary")
	}
}
