package rego

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// podMaker makes templates of pods by chance, the same ones for the same seed.
// Each subject of the standards is calm in most pods, so that a pod is allowed
// about as often as not; where it is not, anything goes that the types allow:
// null, empty, missing, other spelling.
type podMaker struct {
	*rand.Rand
	wild map[string]bool
}

type fields = map[string]any

// absent leaves a field out.
var absent = &struct{}{}

func newPodMaker(seed, number uint64) *podMaker {
	return &podMaker{Rand: rand.New(rand.NewPCG(seed, number)), wild: map[string]bool{}}
}

func (m *podMaker) chance(percent int) bool { return m.IntN(100) < percent }

func (m *podMaker) one(values ...any) any {
	value := values[m.IntN(len(values))]
	if make, ok := value.(func() any); ok {
		return make()
	}
	return value
}

// isWild decides once per pod whether a subject is.
func (m *podMaker) isWild(subject string) bool {
	wild, decided := m.wild[subject]
	if !decided {
		wild = m.chance(40)
		m.wild[subject] = wild
	}
	return wild
}

// set gives a field one of the calm values, or of all.
func (m *podMaker) set(in fields, field, subject string, calm []any, odd ...any) {
	if m.isWild(subject) {
		calm = append(slices.Clone(calm), odd...)
	}
	if value := m.one(calm...); value != any(absent) {
		in[field] = value
	}
}

// list has up to n entries.
func (m *podMaker) list(n int, entry func() any) any {
	entries := []any{}
	for range m.IntN(n + 1) {
		entries = append(entries, entry())
	}
	return entries
}

func values(of ...any) []any { return of }

// template is what stands at spec.template of a Deployment.
func (m *podMaker) template() fields {
	spec := fields{}
	for _, field := range []string{"hostNetwork", "hostPID", "hostIPC"} {
		m.set(spec, field, "hostNamespaces", values(absent, absent, nil, false), true)
	}
	m.set(spec, "hostUsers", "", values(absent, absent, nil, true, false))
	m.set(spec, "os", "", values(absent, absent, absent, nil, fields{}, fields{"name": "linux"}, fields{"name": "windows"},
		fields{"name": "windows"}, fields{"name": "Windows"}, fields{"name": nil}))
	m.set(spec, "securityContext", "", values(m.podSecurity, m.podSecurity, m.podSecurity, m.podSecurity, m.podSecurity, absent, nil, fields{}))
	m.set(spec, "volumes", "volumes", values(absent, nil, func() any { return m.list(2, m.managedVolume) }),
		m.volumes, m.volumes, m.volumes, m.volumes)
	container := 0
	for _, field := range []string{"initContainers", "containers", "ephemeralContainers"} {
		m.set(spec, field, field, values(absent, nil, func() any {
			return m.list(2, func() any { container++; return m.container(container) })
		}, func() any { container++; return []any{m.container(container)} }), []any{nil}, []any{fields{}})
	}
	m.misplace(spec)
	template := fields{"spec": spec}
	m.set(template, "metadata", "annotations", values(absent, nil, fields{}, fields{"annotations": nil},
		fields{"annotations": fields{"example.org/team": "twin"}}), m.annotations, m.annotations, m.annotations, m.annotations)
	return template
}

// misplace puts fields where they mean nothing.
func (m *podMaker) misplace(spec fields) {
	if m.chance(5) {
		spec[m.one("hostnetwork", "HostPID", "privileged", "hostProcess").(string)] = true
	}
}

func (m *podMaker) podSecurity() any {
	security := fields{}
	m.set(security, "runAsNonRoot", "runAsNonRoot", values(true), absent, absent, nil, false)
	m.set(security, "seccompProfile", "seccompProfile", values(fields{"type": "RuntimeDefault"}), m.profile, absent, nil)
	m.shared(security)
	m.set(security, "sysctls", "sysctls", values(absent, nil, []any{}, func() any { return m.list(2, m.safeSysctl) }),
		m.sysctls, m.sysctls, m.sysctls)
	if m.chance(5) {
		security[m.one("privileged", "allowPrivilegeEscalation", "RunAsNonRoot").(string)] = true
	}
	return security
}

// shared are fields that pods and containers both have.
func (m *podMaker) shared(security fields) {
	m.set(security, "runAsUser", "runAsUser", values(absent, nil, int64(1), int64(10001)), int64(0), int64(0), int64(-1))
	m.set(security, "appArmorProfile", "appArmorProfile", values(absent, nil, fields{"type": "RuntimeDefault"}), m.profile)
	m.set(security, "seLinuxOptions", "seLinuxOptions", values(absent, nil, fields{}, fields{"level": "s0:c1,c2"},
		fields{"type": "container_t", "user": "", "role": nil}), m.seLinux)
	m.set(security, "windowsOptions", "windowsOptions", values(absent, absent, nil, fields{}, fields{"hostProcess": nil},
		fields{"hostProcess": false}, fields{"runAsUserName": "ContainerUser"}), fields{"hostProcess": true})
}

func (m *podMaker) profile() any {
	profile := fields{}
	m.set(profile, "type", "", values("RuntimeDefault", "Localhost", "Unconfined", "Unconfined", absent, nil, "", "runtime/default", "localhost"))
	m.set(profile, "localhostProfile", "", values(absent, absent, nil, "profiles/api.json"))
	return profile
}

func (m *podMaker) seLinux() any {
	options := fields{}
	m.set(options, "type", "", values(absent, nil, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t",
		"spc_t", "container_t ", "Container_t"))
	m.set(options, "user", "", values(absent, absent, nil, "", "system_u"))
	m.set(options, "role", "", values(absent, absent, nil, "", "sysadm_r"))
	return options
}

func (m *podMaker) safeSysctl() any { return fields{"name": "net.ipv4.tcp_syncookies", "value": "1"} }

func (m *podMaker) sysctls() any { return m.list(3, m.sysctl) }

func (m *podMaker) sysctl() any {
	name := m.one("kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
		"net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time",
		"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem",
		"net.ipv4.tcp_wmem", "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat",
		"kernel.msgmax", "net/ipv4/tcp_syncookies", "NET.IPV4.TCP_RMEM", "", nil)
	return m.one(fields{"name": name}, fields{"name": name, "value": "1"}, fields{"name": name}, fields{"value": "1"}, nil)
}

// containerSecurity of a container. In calm pods what it does not say is said
// by its pod, where a pod can.
func (m *podMaker) containerSecurity() any {
	security := fields{}
	m.set(security, "privileged", "privileged", values(absent, nil, false), true)
	m.set(security, "allowPrivilegeEscalation", "allowPrivilegeEscalation", values(false), absent, nil, true)
	m.set(security, "capabilities", "capabilities", values(fields{"drop": []any{"ALL"}},
		fields{"drop": []any{"NET_RAW", "ALL"}, "add": []any{"NET_BIND_SERVICE"}}), absent, nil, fields{}, m.capabilities, m.capabilities, m.capabilities, m.capabilities)
	m.set(security, "procMount", "procMount", values(absent, nil, "Default"), "Unmasked", "Unmasked", "", "default")
	m.set(security, "runAsNonRoot", "runAsNonRoot", values(absent, nil, true), false)
	m.set(security, "seccompProfile", "seccompProfile", values(absent, nil, fields{"type": "Localhost"}), m.profile)
	m.set(security, "readOnlyRootFilesystem", "", values(absent, nil, true, false))
	m.shared(security)
	if m.chance(5) {
		security[m.one("hostProcess", "Privileged", "hostNetwork").(string)] = true
	}
	return security
}

var someCapabilities = values("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
	"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "NET_BIND_SERVICE", "NET_RAW", "SYS_ADMIN", "ALL", "", nil, "chown", "CAP_CHOWN", "CHOWN ")

func (m *podMaker) capabilities() any {
	of := fields{}
	m.set(of, "add", "", values(absent, nil, m.capabilityList, m.capabilityList, m.capabilityList))
	m.set(of, "drop", "", values(absent, nil, []any{"ALL"}, []any{"ALL"}, []any{"all"}, []any{nil, "ALL"},
		m.capabilityList))
	return of
}

func (m *podMaker) capabilityList() any {
	return m.list(2, func() any { return m.one(someCapabilities...) })
}

func (m *podMaker) container(number int) any {
	container := fields{"image": "registry.example.org/app"}
	m.set(container, "name", "names", values(fmt.Sprintf("c%d", number)), absent, nil, "", "c1")
	m.set(container, "securityContext", "contexts", values(m.containerSecurity), absent, nil, fields{}, m.containerSecurity, m.containerSecurity)
	m.set(container, "ports", "ports", values(absent, nil, []any{}, func() any { return m.list(2, m.plainPort) }),
		m.ports, m.ports, m.ports)
	for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
		m.set(container, probe, "probes", values(absent, absent, nil, fields{}, func() any { return m.action(false) }),
			func() any { return m.action(true) })
	}
	m.set(container, "lifecycle", "probes", values(absent, absent, nil, fields{}, func() any { return m.lifecycle(false) }),
		func() any { return m.lifecycle(true) })
	return container
}

func (m *podMaker) plainPort() any {
	return m.one(nil, fields{"containerPort": int64(80)}, fields{"hostPort": int64(0)}, fields{"containerPort": int64(80), "hostPort": nil})
}

func (m *podMaker) ports() any { return m.list(2, m.port) }

func (m *podMaker) port() any {
	return m.one(m.plainPort, fields{"hostPort": int64(80)}, fields{"containerPort": int64(80), "hostPort": int64(80)}, fields{"hostPort": int64(-1)})
}

// action is a probe, or what a hook does.
func (m *podMaker) action(elsewhere bool) any {
	action := fields{}
	for _, field := range []string{"httpGet", "tcpSocket"} {
		to := fields{"port": int64(80)}
		m.set(to, "host", "", values(absent, absent, nil, ""))
		if elsewhere {
			m.set(to, "host", "", values(absent, "", nil, "127.0.0.1", "example.org", " "))
		}
		m.set(action, field, "", values(absent, absent, nil, fields{}, to, to))
	}
	m.set(action, "exec", "", values(absent, absent, nil, fields{"command": []any{"true"}}))
	m.set(action, "grpc", "", values(absent, absent, absent, nil, fields{"port": int64(80), "service": "host"}))
	return action
}

func (m *podMaker) lifecycle(elsewhere bool) any {
	lifecycle := fields{}
	for _, hook := range []string{"postStart", "preStop"} {
		m.set(lifecycle, hook, "", values(absent, nil, fields{}, func() any { return m.action(elsewhere) }))
	}
	return lifecycle
}

var managedSources = []string{"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret"}

var otherSources = []string{"awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "fc", "flexVolume", "flocker",
	"gcePersistentDisk", "gitRepo", "glusterfs", "hostPath", "hostPath", "hostPath", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte",
	"rbd", "scaleIO", "storageos", "vsphereVolume", "somethingNew", "HostPath"}

func (m *podMaker) managedVolume() any {
	volume := fields{}
	m.set(volume, "name", "", values("a", "b", absent, nil))
	if m.chance(80) {
		volume[managedSources[m.IntN(len(managedSources))]] = fields{}
	}
	return volume
}

func (m *podMaker) volumes() any { return m.list(4, m.volume) }

func (m *podMaker) volume() any {
	if m.chance(5) {
		return nil
	}
	volume := m.managedVolume().(fields)
	if m.chance(50) {
		clear(volume)
	}
	for range m.IntN(3) {
		volume[otherSources[m.IntN(len(otherSources))]] = m.one(fields{}, fields{}, nil)
	}
	return volume
}

func (m *podMaker) annotations() any {
	annotations := fields{}
	for range m.IntN(4) {
		prefix := m.one("container.apparmor.security.beta.kubernetes.io/", "container.seccomp.security.alpha.kubernetes.io/",
			"seccomp.security.alpha.kubernetes.io/pod", "container.apparmor.security.beta.kubernetes.io", "example.org/")
		key := fmt.Sprint(prefix, m.one("c1", "c2", "", "other", "pod"))
		if m.chance(30) {
			key = fmt.Sprint(prefix)
		}
		annotations[key] = m.one("runtime/default", "docker/default", "localhost/api", "localhost", "unconfined", "", nil, "Runtime/Default")
	}
	return fields{"annotations": annotations}
}
