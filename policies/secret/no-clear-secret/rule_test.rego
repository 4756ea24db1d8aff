package secret.no_clear_secret_test

import data.secret.no_clear_secret

test_names_every_key if {
	object := {"apiVersion": "v1", "kind": "Secret", "data": {"a": "", "tls.key": "x"}, "stringData": {"b": "y"}}
	paths := {f.path | some f in no_clear_secret.deny} with input.object as object
	paths == {`data["a"]`, `data["tls.key"]`, `stringData["b"]`}
}

test_null_holds_nothing if {
	count(no_clear_secret.deny) == 0 with input.object as {"apiVersion": "v1", "kind": "Secret", "data": null, "stringData": {}}
}
