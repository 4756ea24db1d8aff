package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Lease times: a replica that cannot renew stops acting before another may begin.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// lead runs work while this replica holds the lease, and returns when work
// does, or when the lease is lost. The journal's resourceVersion is the fence
// behind it: a replica that was paused past its lease cannot write.
func lead(ctx context.Context, config *rest.Config, namespace string, waiting func(), work func(context.Context) error) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Name: "chaperone", Namespace: namespace},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())},
	}
	// The lease is given up only after the work has ended: not when it is asked to.
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var leading atomic.Bool
	defer context.AfterFunc(ctx, func() {
		if !leading.Load() {
			release()
		}
	})()
	finished := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: "chaperone",
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				leading.Store(true)
				working, stop := context.WithCancel(ctx)
				defer stop()
				defer context.AfterFunc(held, stop)()
				finished <- work(working)
				release()
			},
			OnStoppedLeading: func() {},
			OnNewLeader: func(identity string) {
				if identity != lock.Identity() {
					waiting()
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("leader election: %w", err)
	}
	elector.Run(holding)
	if !leading.Load() {
		return nil
	}
	err = <-finished
	if err == nil && ctx.Err() == nil {
		err = errors.New("the lease was lost; another replica may lead now")
	}
	return err
}
