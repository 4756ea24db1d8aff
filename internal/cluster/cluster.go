// Package cluster puts releases on a Kubernetes cluster and takes them off
// again. It guarantees that a rejected object stops a release before anything
// is touched, that what an environment may own is written down before it is
// created and forgotten only once it is gone, that nothing is deleted on an
// incomplete answer, and that no error or diff shows a Secret's value.
package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// Options of a connection. The zero value of each is a working default.
type Options struct {
	// Impersonate is the user that every request is made as, such as
	// system:serviceaccount:novamind:deployer. The connection can then do no
	// more than that account may, and neither can a manifest.
	Impersonate  string
	FieldManager string // default "chaperone"
	UserAgent    string // default "chaperone"
	Workers      int    // requests at once; default 16
	// RequestTimeout bounds one attempt of one request; default 30s.
	RequestTimeout time.Duration
	// RetryFor bounds the attempts of one request where the context has no
	// earlier deadline; default 2m.
	RetryFor time.Duration
	// PruneWait bounds how long Prune waits for deletions to be confirmed, in
	// each wave, and a restore for what its objects depend on to be ready; default 30s.
	PruneWait time.Duration
	// DaemonNamespace is where the daemon runs; nothing in it is ever pruned.
	DaemonNamespace string
	// Redactor marks secret values; nil is one with a salt of its own.
	Redactor *manifest.Redactor
	Logger   *slog.Logger // default: none
	// OnRequest is told of every request: verb as in RBAC (get, list, watch,
	// create, apply, …), resource, status code (0: no answer).
	OnRequest func(verb, resource string, code int)
}

func (o Options) withDefaults() (Options, error) {
	setDefault(&o.FieldManager, plan.FieldManager)
	setDefault(&o.UserAgent, "chaperone")
	setDefault(&o.Workers, 16)
	setDefault(&o.RequestTimeout, 30*time.Second)
	setDefault(&o.RetryFor, 2*time.Minute)
	setDefault(&o.PruneWait, 30*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Redactor == nil {
		salt := make([]byte, 32)
		if _, err := rand.Read(salt); err != nil {
			return o, fmt.Errorf("choose redaction salt: %w", err)
		}
		redactor := manifest.NewRedactor(salt)
		o.Redactor = &redactor
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Cluster is a connection to one API server as one user. It is safe for
// concurrent use; one environment must not be applied or pruned twice at once,
// which the inventory's resourceVersion enforces.
type Cluster struct {
	options  Options
	dynamic  dynamic.Interface
	metadata metadata.Interface
	kinds    *kinds
	losses   *losses
	searches gather[Owner, searched]
	grants   *grants
	http     *http.Client
	raw      rest.Interface // for what is no object, such as logs

	mu      sync.Mutex
	mirrors map[string]*mirror // by Owner.key
	written map[string]stored  // likewise; inventories that no mirror was there to keep
}

// Connect prepares a connection. No request is made: a server that is down is
// met by the first call that needs it.
func Connect(config *rest.Config, options Options) (*Cluster, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	config = rest.CopyConfig(config)
	// The server's priority and fairness decides, not the client.
	config.QPS, config.Burst = -1, 0
	// Packing a long list costs the server more than sending it costs the network.
	config.DisableCompression = true
	config.UserAgent = options.UserAgent
	config.WarningHandler = rest.NoWarnings{}
	if options.Impersonate != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: options.Impersonate}
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return &pacer{next: next, last: map[string]time.Time{}}
	})
	if options.OnRequest != nil {
		config.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return &counter{next: next, count: options.OnRequest}
		})
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	c := &Cluster{options: options, losses: newLosses(), grants: newGrants(), http: client, mirrors: map[string]*mirror{}, written: map[string]stored{}}
	if c.dynamic, err = dynamic.NewForConfigAndClient(config, client); err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	if c.metadata, err = metadata.NewForConfigAndClient(config, client); err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("connect to cluster: %w", err)
	}
	c.raw = disco.RESTClient()
	c.kinds = newKinds(disco, options.RequestTimeout)
	c.searches = gather[Owner, searched]{run: c.searchAll, most: maxTogether, apart: searchApart}
	return c, nil
}

// ConnectKubeconfig connects as a kubeconfig's current context says. The
// content is not trusted to run programs on the daemon's machine: exec and
// auth-provider plugins, and files it refers to, are refused.
func ConnectKubeconfig(kubeconfig []byte, options Options) (*Cluster, error) {
	loaded, err := clientcmd.Load(kubeconfig)
	if err != nil {
		// The text of a YAML error may quote a token.
		return nil, errors.New("read kubeconfig: not a valid kubeconfig file")
	}
	for name, cluster := range loaded.Clusters {
		if cluster.CertificateAuthority != "" {
			return nil, fmt.Errorf("read kubeconfig: cluster %q: refers to a file; want the data itself (`kubectl config view --flatten`)", name)
		}
	}
	for name, user := range loaded.AuthInfos {
		if user.Exec != nil || user.AuthProvider != nil {
			return nil, fmt.Errorf("read kubeconfig: user %q: credential plugins are not run; want a token or a client certificate", name)
		}
		if user.TokenFile != "" || user.ClientCertificate != "" || user.ClientKey != "" {
			return nil, fmt.Errorf("read kubeconfig: user %q: refers to files; want the data itself (`kubectl config view --flatten`)", name)
		}
	}
	if _, found := loaded.Contexts[loaded.CurrentContext]; !found {
		return nil, fmt.Errorf("read kubeconfig: current-context %q is none of its contexts; want one of %q",
			loaded.CurrentContext, slices.Sorted(maps.Keys(loaded.Contexts)))
	}
	config, err := clientcmd.NewDefaultClientConfig(*loaded, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return Connect(config, options)
}

// Close lets go of idle connections.
func (c *Cluster) Close() { utilnet.CloseIdleConnectionsFor(c.http.Transport) }

// Owner is the environment on whose behalf something is done.
type Owner struct {
	Environment   promotion.ID
	Namespace     string // where its inventory lives, and its objects unless Allow says more
	Allow         []promotion.Allowance
	Prune         bool    // false: Prune keeps everything
	MaxDeletePart float64 // see promotion.Environment; 0 is the default
	MaxDeletes    int     // see promotion.Environment; 0 is the default
	Protect       []promotion.Protection
	Release       string // written beside each entry of the inventory, for people
	// Digest names the release that is applied, or whose drift is asked about.
	Digest manifest.Digest
	// Formerly are environments that have this one's target and are no more: what
	// they own is this one's. Applying moves it; a prune that leaves nothing to do
	// ends their inventories.
	Formerly []promotion.ID
	// Adopt are the tools whose objects are taken over as they are applied.
	Adopt []promotion.Tool
	// Leave is what belongs to others once they have written it.
	Leave plan.Leave
	// Restoring says that this brings last good back: hooks are not run, and
	// the guard on mass deletion lets pass what came after last good. What is
	// taken over stays under it: last good may be another environment's.
	Restoring bool
	// ApplyTimeout bounds one apply, hooks and waits included; 0 is 30m.
	ApplyTimeout time.Duration
	// Health is how the environment wants kinds judged that others depend on.
	Health []promotion.HealthRule
	// LogLines is how many lines of a hook that failed are kept; 0 keeps none.
	LogLines int
	// Contents asks Plan for the objects before and after, to be shown.
	Contents bool
	reviewed bool // every right is asked for, of a restore too
	applied  bool // the release is there already, and drift is looked for
}

// OwnerOf is the owner that an environment's file describes.
func OwnerOf(e promotion.Environment) Owner {
	lines := promotion.DefaultLogs
	if e.Data == promotion.DataPHI {
		lines = 0 // they may hold a patient's
	}
	return Owner{LogLines: lines, Environment: e.ID, Namespace: e.Target.Namespace, Allow: e.Target.Allow,
		Prune: e.Prune, MaxDeletePart: e.MaxDeletePart, MaxDeletes: e.MaxDeletes, Protect: e.Protect, Formerly: e.Formerly,
		Adopt: e.Adopt, ApplyTimeout: e.ApplyTimeout, Health: e.Verify.Health, Leave: plan.LeaveOf(e.IgnoreDrift)}
}

// inventoryName is the ConfigMap that holds the environment's inventory. It is
// in the target's namespace, not the daemon's: that is where the impersonated
// account may write, a remote cluster has no other, and it survives the loss
// of the daemon's namespace together with what it lists.
func (w Owner) inventoryName() string {
	return plan.InventoryPrefix + w.Environment.Pipeline + "-" + w.Environment.Name
}

func (w Owner) setID() string {
	return inventory.SetID(w.inventoryName(), w.Namespace, schema.GroupKind{Kind: "ConfigMap"})
}

func (w Owner) plan() plan.Owner {
	owner := plan.Owner{Environment: w.Environment.String(), SetID: w.setID(), Namespace: w.Namespace, Allow: w.Allow, Adopt: w.Adopt}
	for _, former := range w.formers() {
		owner.Formerly = append(owner.Formerly, plan.Former{Environment: former.Environment.String(), SetID: former.setID()})
	}
	return owner
}

func (w Owner) check() error {
	if w.Environment.Pipeline == "" || w.Environment.Name == "" || w.Namespace == "" {
		return fmt.Errorf("environment %q: want an ID and a target namespace", w.Environment)
	}
	return nil
}

func (c *Cluster) guards(w Owner) plan.Guards {
	return plan.Guards{Prune: w.Prune, MaxDeletePart: w.MaxDeletePart, MaxDeletes: w.MaxDeletes, Protect: w.Protect,
		DaemonNamespace: c.options.DaemonNamespace, Restoring: w.Restoring, Partial: c.kinds.partial()}
}
