package encryption.central_keys_test

import data.encryption.central_keys

store(provider) := {
	"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "s", "namespace": "a"},
	"spec": {"provider": {provider: {}}},
}

denied(provider, class) if {
	count(central_keys.deny) == 1 with input.objects as [store(provider)] with input.environment.data as class
}

test_stores if {
	not denied("aws", "phi")
	not denied("vault", "phi")
	denied("fake", "phi")
	denied("kubernetes", "anonymized")
	not denied("fake", "synthetic")
}
