package controlplane

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// etcd listens on sockets in the working directory: a full path may exceed the 108 bytes that
// a socket address holds, and a TCP port would be open to every user of the machine. The :0 is
// part of the file name: etcd wants every address of a peer to look like host:port.
const (
	etcdClientURL = "unix://etcd.sock:0"
	etcdPeerURL   = "unix://peer.sock:0"
)

// startEtcd serves the store in dir. Nothing is synced to disk: the data of a local cluster is
// worth less than the seconds that this saves.
func startEtcd(ctx context.Context, dir string) (*embed.Etcd, error) {
	wal.SegmentSizeBytes = 8 << 20 // allocated at once, twice
	cfg := embed.NewConfig()
	cfg.Dir = filepath.Join(dir, "etcd")
	cfg.Logger = "zap"
	cfg.LogLevel = "error"
	cfg.LogOutputs = []string{filepath.Join(dir, "etcd.log")}
	cfg.UnsafeNoFsync = true
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 2000, 100 // requests kept in memory, for members that lag
	client, peer, err := etcdURLs()
	if err != nil {
		return nil, err
	}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = client, client
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peer, peer
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		return nil, fmt.Errorf("start etcd: %w", err)
	case <-ctx.Done():
		server.Close()
		return nil, fmt.Errorf("start etcd: %w", ctx.Err())
	}
}

func etcdURLs() (client, peer []url.URL, err error) {
	c, err := url.Parse(etcdClientURL)
	if err != nil {
		return nil, nil, err
	}
	p, err := url.Parse(etcdPeerURL)
	if err != nil {
		return nil, nil, err
	}
	return []url.URL{*c}, []url.URL{*p}, nil
}
