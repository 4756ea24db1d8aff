package web

import (
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/webhook"
)

// HookPath is where webhooks are taken.
const HookPath = "/webhook"

// What hooks may cost. A delivery that is turned away is made up for by the next
// poll.
const (
	maxHook      = 25 << 20 // bytes of a body; GitHub sends no more, and none of it is kept
	hooksAtOnce  = 16       // bodies that are read
	maxHookers   = 128      // connections
	hookBurst    = 20
	hooksASecond = 2
	logPause     = 10 * time.Second // between two lines about the same refusal
)

// HookOutcome is how a request to HookPath came out.
type HookOutcome string

// The outcomes, each with its answer.
const (
	HookAccepted        HookOutcome = "accepted"        // 202
	HookUnauthenticated HookOutcome = "unauthenticated" // 401
	HookTooLarge        HookOutcome = "too-large"       // 413
	HookTooMany         HookOutcome = "too-many"        // 429
	HookRefused         HookOutcome = "refused"         // 405, 415
	HookBroken          HookOutcome = "broken"          // 400, 408: the body did not come
	HookUnavailable     HookOutcome = "unavailable"     // 503: there are no secrets to check with
)

// HookOptions are what Hooks are told.
type HookOptions struct {
	Address string
	Secrets func() (webhook.Secrets, error) // asked for each delivery, so that rotated ones are known at once
	Look    func()                          // called for each authentic delivery; must not wait
	Counted func(webhook.Forge, HookOutcome)
	Now     func() time.Time
	Log     *slog.Logger // nil discards
}

// Hooks take webhooks. Nothing that a sender says is believed: whoever knows a
// secret can make the daemon look at its source, sooner than it would.
type Hooks struct {
	HookOptions
	*listening
	reading chan struct{}
	mu      sync.Mutex
	tokens  float64
	filled  time.Time
	told    map[HookOutcome]*silence
}

// silence keeps who asks without end from filling the log.
type silence struct {
	since   time.Time
	skipped int
}

// NewHooks makes what takes webhooks, once started.
func NewHooks(o HookOptions) *Hooks {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hooks{HookOptions: o, reading: make(chan struct{}, hooksAtOnce), tokens: hookBurst, filled: o.Now(), told: map[HookOutcome]*silence{}}
	h.listening = listen(o.Address, h.Handler(), o.Log)
	h.most = maxHookers
	h.server.SetKeepAlivesEnabled(false)
	return h
}

// Handler answers every request, also without a listener.
func (h *Hooks) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(HookPath, h.take)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxHook)
		mux.ServeHTTP(w, r)
	})
}

// answer is what is said to a sender, and why to the log.
type answer struct {
	outcome HookOutcome
	status  int
	text    string
	err     error
}

func (h *Hooks) take(w http.ResponseWriter, r *http.Request) {
	var from webhook.Delivery
	a := h.refuse(w, r)
	if a.outcome == "" {
		from, a = h.read(r)
	}
	if a.outcome == HookAccepted {
		h.Look()
	}
	h.Counted(from.Forge, a.outcome)
	h.tell(r, from, a)
	if a.outcome == HookTooMany {
		w.Header().Set("Retry-After", "1")
	}
	say(w, a.status, a.text)
}

// refuse looks at what costs nothing to look at.
func (h *Hooks) refuse(w http.ResponseWriter, r *http.Request) answer {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return answer{outcome: HookRefused, status: http.StatusMethodNotAllowed, text: "webhooks are sent with POST"}
	}
	switch kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err != nil, kind != "application/json" && kind != "application/x-www-form-urlencoded":
		return answer{outcome: HookRefused, status: http.StatusUnsupportedMediaType, text: "want application/json"}
	case r.ContentLength > maxHook:
		return tooLarge()
	}
	if !h.may() {
		return tooMany()
	}
	return answer{}
}

func tooLarge() answer {
	return answer{outcome: HookTooLarge, status: http.StatusRequestEntityTooLarge, text: "want at most " + strconv.Itoa(maxHook) + " bytes"}
}

func tooMany() answer {
	return answer{outcome: HookTooMany, status: http.StatusTooManyRequests, text: "too many webhooks at once; the branch is polled anyway"}
}

// may is a bucket that fills with time.
func (h *Hooks) may() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.Now()
	h.tokens = min(hookBurst, h.tokens+hooksASecond*max(0, now.Sub(h.filled).Seconds()))
	h.filled = now
	if h.tokens < 1 {
		return false
	}
	h.tokens--
	return true
}

// read takes a body, a piece at a time, and finds out whose it is.
func (h *Hooks) read(r *http.Request) (webhook.Delivery, answer) {
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	default:
		return webhook.Delivery{}, tooMany()
	}
	secrets, err := h.Secrets()
	if err != nil {
		return webhook.Delivery{}, answer{HookUnavailable, http.StatusServiceUnavailable, "the secret cannot be read; the branch is polled anyway", err}
	}
	check, err := webhook.Open(r.Header, secrets)
	if err != nil {
		return webhook.Delivery{}, answer{HookUnauthenticated, http.StatusUnauthorized, err.Error(), err}
	}
	var large *http.MaxBytesError
	switch _, err := io.Copy(check, r.Body); {
	case errors.As(err, &large):
		return check.Delivery, tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return check.Delivery, answer{HookBroken, http.StatusRequestTimeout, "the body takes too long", err}
	case err != nil:
		return check.Delivery, answer{HookBroken, http.StatusBadRequest, "the body ends early", err}
	}
	if !check.Authentic() {
		return check.Delivery, answer{HookUnauthenticated, http.StatusUnauthorized, "the signature is not one of a known secret", nil}
	}
	return check.Delivery, answer{HookAccepted, http.StatusAccepted, "looking", nil}
}

func (h *Hooks) tell(r *http.Request, from webhook.Delivery, a answer) {
	attributes := []any{"outcome", a.outcome, "status", a.status, "from", r.RemoteAddr, "forge", from.Forge, "event", from.Event, "delivery", from.ID}
	if a.outcome == HookAccepted {
		h.Log.Info("webhook", attributes...)
		return
	}
	skipped, loud := h.loud(a.outcome)
	if !loud {
		return
	}
	if skipped > 0 {
		attributes = append(attributes, "more", skipped)
	}
	if a.err != nil {
		attributes = append(attributes, "err", a.err)
	}
	h.Log.Warn("webhook refused", append(attributes, "answer", a.text)...)
}

// loud reports whether this refusal is to be logged, and how many before it were
// not.
func (h *Hooks) loud(outcome HookOutcome) (skipped int, loud bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.told[outcome]
	if now := h.Now(); s == nil || now.Sub(s.since) >= logPause {
		if s != nil {
			skipped = s.skipped
		}
		h.told[outcome] = &silence{since: now}
		return skipped, true
	}
	s.skipped++
	return 0, false
}
