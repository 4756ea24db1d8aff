package rego

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// allowed are the built-in functions that policies may use. A new version of
// OPA adds functions; none becomes usable here before somebody has written it
// down. Left out on purpose: everything that reaches the network, the process
// environment, the clock or chance (http.send, net.lookup_ip_addr,
// opa.runtime, time.now_ns, rand.intn, uuid.rfc4122), or depends on them in
// hiding (x509 verification reads the clock, JSON schemas may be remote);
// everything about keys and tokens; and what renders templates.
var allowed = strings.Fields(`
	abs array.concat array.flatten array.reverse array.slice assign
	base64.decode base64.encode base64.is_valid base64url.decode base64url.encode base64url.encode_no_pad
	bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor
	ceil concat contains count crypto.sha256 crypto.x509.parse_certificates div
	endswith eq equal floor format_int glob.match glob.quote_meta graph.reachable graph.reachable_paths gt gte
	hex.decode hex.encode indexof indexof_n intersection
	internal.member_2 internal.member_3 internal.print internal.template_string
	is_array is_boolean is_null is_number is_object is_set is_string
	json.filter json.is_valid json.marshal json.patch json.remove json.unmarshal
	lower lt lte max min minus mul neq
	net.cidr_contains net.cidr_contains_matches net.cidr_intersects net.cidr_is_valid net.cidr_merge
	numbers.range numbers.range_step
	object.filter object.get object.keys object.remove object.subset object.union object.union_n
	and or plus print product
	regex.find_all_string_submatch_n regex.find_n regex.is_valid regex.match regex.replace regex.split
	rego.metadata.chain rego.metadata.rule rem replace round
	semver.compare semver.is_valid sort split sprintf startswith
	strings.any_prefix_match strings.any_suffix_match strings.count strings.replace_n strings.reverse
	substring sum
	time.add_date time.clock time.date time.diff time.format time.parse_duration_ns time.parse_ns
	time.parse_rfc3339_ns time.weekday
	to_number trim trim_left trim_prefix trim_right trim_space trim_suffix type_name
	union units.parse units.parse_bytes upper uri.is_valid uri.parse
	urlquery.decode urlquery.decode_object urlquery.encode urlquery.encode_object
	walk yaml.is_valid yaml.marshal yaml.unmarshal`)

// testOnly is what OPA's test runner puts into tests that have cases.
const testOnly = "internal.test_case"

// features of the language that policies may use: what every OPA 1.x, Conftest
// and Gatekeeper understands. `import rego.v2` is not among them.
var features = []string{ast.FeatureRegoV1, ast.FeatureKeywordsInRefs, ast.FeatureTemplateStrings}

func capabilities(extra ...string) *ast.Capabilities {
	known := ast.CapabilitiesForThisVersion()
	caps := &ast.Capabilities{Features: features, AllowNet: []string{}}
	for _, builtin := range known.Builtins {
		if slices.Contains(allowed, builtin.Name) || slices.Contains(extra, builtin.Name) {
			caps.Builtins = append(caps.Builtins, builtin)
		}
	}
	return caps
}
