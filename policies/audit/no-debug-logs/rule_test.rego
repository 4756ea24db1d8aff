package audit.no_debug_logs_test

import data.audit.no_debug_logs

config(texts) := {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "a"}, "data": texts}

denied(texts) if count(no_debug_logs.deny) == 1 with input.object as config(texts)

test_settings if {
	every texts in [
		{"LOG_LEVEL": "debug"}, {"log.level": " TRACE "}, {"LOGGING_LEVEL_ROOT": "DEBUG"}, {"SPRING_LOG_LEVEL": "trace"}, {"RUST_LOG": "debug"},
		{"logLevel": "Verbose"}, {"DEBUG": "true"}, {"DJANGO_DEBUG": "1"}, {"DEBUG": "*"},
	] {
		denied(texts)
	}
	every texts in [
		{"LOG_LEVEL": "info"}, {"DEBUG": "false"}, {"DEBUG": "0"}, {"LOG_LEVELS_DOC": "debug"}, {"MODE": "debug"}, {"CATALOG_LEVEL": "all"},
	] {
		not denied(texts)
	}
}

test_lines_of_files if {
	every text in ["a=1\nlogging.level.root=DEBUG\n", "log_level: debug\nb: 2\n", "  <root level=\"debug\">\n", "log:\n  level: trace\n"] {
		denied({"file": text})
	}
	every text in ["# log_level: debug turns it on\nlog_level: info\n", "logging.level.root=INFO\n", "zoom level: debugging\n"] {
		not denied({"file": text})
	}
}

told(argument) if {
	count(no_debug_logs.deny) == 1 with input.object as {
		"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "a"},
		"spec": {"containers": [{"name": "app", "args": [argument]}]},
	}
}

test_arguments if {
	every argument in ["--log-level=debug", "--log.level=DEBUG", "--debug", "--loglevel=trace", "-vvv", "--debug=true", "--v=6"] {
		told(argument)
	}
	every argument in ["--log-level=info", "--debug=false", "--debug-port=0", "--v=2", "-v", "debug.sql"] {
		not told(argument)
	}
}
