# METADATA
# title: Certificates are renewed well before they end
# description: >-
#   A certificate that ends takes the entry with it. There has to be time for a
#   renewal that fails to be seen and mended: params.certificate_renewal of it.
# scope: package
# custom:
#   id: encryption/certificate-renewal
#   code: ENC-006
#   severity: medium
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(2)(ii)
#         why: >-
#           The encryption of what is sent does not end on a weekend, nor is it
#           switched off because it has.
#   remediation: >-
#     Set renewBefore of the Certificate to at least params.certificate_renewal
#     and less than its duration, or leave it out: then it is a third of the
#     duration. Give an ExternalSecret that fetches a certificate a
#     refreshInterval.
package encryption.certificate_renewal

import data.lib.objects
import data.lib.release

deny contains result if {
	some o in release.of_kind("Certificate.cert-manager.io")
	before := seconds(object.get(o, ["spec", "renewBefore"], ""))
	before < wanted(o)
	result := {
		"msg": sprintf("it is renewed %s before its end; want at least %s", [o.spec.renewBefore, data.params.certificate_renewal]),
		"object": objects.ref(o),
		"path": "spec.renewBefore",
	}
}

deny contains result if {
	some o in release.of_kind("Certificate.cert-manager.io")
	before := seconds(object.get(o, ["spec", "renewBefore"], ""))
	before >= duration(o)
	result := {
		"msg": "it would be renewed before it begins",
		"object": objects.ref(o),
		"path": "spec.renewBefore",
	}
}

deny contains result if {
	some o in release.of_kind("Certificate.cert-manager.io")
	share := o.spec.renewBeforePercentage
	is_number(share)
	share * duration(o) < wanted(o) * 100
	result := {
		"msg": sprintf("it is renewed when %v%% of its time are left; want at least %s", [share, data.params.certificate_renewal]),
		"object": objects.ref(o),
		"path": "spec.renewBeforePercentage",
	}
}

deny contains result if {
	some o in release.of_kind("ExternalSecret.external-secrets.io")
	object.get(o, ["spec", "target", "template", "type"], "") == "kubernetes.io/tls"
	fetched_once(o)
	result := {
		"msg": "the certificate is fetched once and never again",
		"object": objects.ref(o),
		"path": "spec.refreshInterval",
	}
}

# Certificates that live for days only are renewed after two thirds of them.
wanted(o) := min([seconds(data.params.certificate_renewal), duration(o) / 3])

# Without a duration it is 90 days.
duration(o) := seconds(object.get(o, ["spec", "duration"], "2160h"))

# Undefined for what is no duration; the API server refuses that.
seconds(text) := time.parse_duration_ns(text) / 1000000000 if {
	is_string(text)
	regex.match(`^([0-9]+(\.[0-9]+)?(h|m|s))+$`, text)
}

fetched_once(o) if o.spec.refreshPolicy == "CreatedOnce"

fetched_once(o) if seconds(o.spec.refreshInterval) == 0

fetched_once(o) if o.spec.refreshInterval in {"0", 0}
