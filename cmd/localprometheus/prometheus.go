package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"
)

// Bounds as a server of one's own would have them.
const (
	queryTimeout = 30 * time.Second
	maxSamples   = 5_000_000
	lookback     = 5 * time.Minute
)

// server is a running Prometheus.
type server struct {
	handler http.Handler
	close   func() error
}

// start reads prometheus.yml in dir, scrapes what it says, and keeps that there.
func start(ctx context.Context, dir, address string) (*server, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	file := filepath.Join(dir, "prometheus.yml")
	settings, err := config.LoadFile(file, false, log)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	registry := prometheus.NewRegistry()
	options := tsdb.DefaultOptions()
	// Tests write what happened yesterday, in any order.
	options.OutOfOrderTimeWindow = (48 * time.Hour).Milliseconds()
	db, err := tsdb.Open(filepath.Join(dir, "data"), log, registry, options, nil)
	if err != nil {
		return nil, fmt.Errorf("open storage: %w", err)
	}
	if err := scrapeInto(ctx, db, settings, registry, log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	language := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: log, Reg: registry, MaxSamples: maxSamples, Timeout: queryTimeout, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, Parser: language,
	})
	return &server{handler: newAPI(db, engine, language, settings, registry, address, log), close: db.Close}, nil
}

// scrapeInto scrapes until ctx ends. Targets are those that the file names.
func scrapeInto(ctx context.Context, db *tsdb.DB, settings *config.Config, registry *prometheus.Registry, log *slog.Logger) error {
	metrics, err := discovery.CreateAndRegisterSDMetrics(registry)
	if err != nil {
		return fmt.Errorf("discover: %w", err)
	}
	discovered := discovery.NewManager(ctx, log, registry, metrics, discovery.Updatert(100*time.Millisecond))
	if discovered == nil {
		return errors.New("discover: its metrics are taken")
	}
	options := &scrape.Options{DiscoveryReloadInterval: 100_000_000}
	manager, err := scrape.NewManager(options, log, nil, nil, db, registry)
	if err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	if err := manager.ApplyConfig(settings); err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	jobs, err := settings.GetScrapeConfigs()
	if err != nil {
		return fmt.Errorf("scrape: %w", err)
	}
	targets := map[string]discovery.Configs{}
	for _, job := range jobs {
		targets[job.JobName] = job.ServiceDiscoveryConfigs
	}
	if err := discovered.ApplyConfig(targets); err != nil {
		return fmt.Errorf("discover: %w", err)
	}
	go func() { _ = discovered.Run() }()
	go func() { _ = manager.Run(discovered.SyncCh()) }()
	context.AfterFunc(ctx, manager.Stop)
	return nil
}

// newAPI is the HTTP API, with remote write so that tests can bring a past.
func newAPI(db *tsdb.DB, engine *promql.Engine, language parser.Parser, settings *config.Config, registry *prometheus.Registry, address string, log *slog.Logger) http.Handler {
	open := func(f http.HandlerFunc) http.HandlerFunc { return f }
	api := v1.NewAPI(engine, db, db, db, nil, nil, nil,
		func() config.Config { return *settings },
		nil, v1.GlobalURLOptions{ListenAddress: address, Host: address, Scheme: "http"},
		open, nil, db.Dir(), false, false, 0, log, nil,
		1_000_000, 4, 1<<20, false, nil,
		func() (v1.RuntimeInfo, error) { return v1.RuntimeInfo{}, nil },
		&v1.PrometheusVersion{}, nil, nil, registry, registry, nil,
		true, remote.MessageTypes{remote.WriteV1MessageType},
		false, false, false, lookback, false, false, nil, nil,
		v1.OpenAPIOptions{}, language, false, queryTimeout)
	router := route.New()
	api.Register(router)
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", http.StripPrefix("/api/v1", router))
	return mux
}
