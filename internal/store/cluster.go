package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

func clusterClient(o *redis.ClusterOptions, observers []Observer) *redis.ClusterClient {
	// Else it asks for the list of commands first, again and again where it may not have it.
	o.DisableRoutingPolicies = true
	cluster := redis.NewClusterClient(o)
	cluster.OnNewNode(func(node *redis.Client) {
		for _, by := range observers { // of each node, since some commands are sent to one by name
			node.AddHook(observed{by})
		}
		node.AddHook(reloads{cluster})
		node.AddHook(&connections{})
		node.AddHook(again{})
	})
	return cluster
}

// reloads has a cluster's client ask anew who has which keys when a node fails. By itself it does so every ten seconds
// or when a node sends it elsewhere, which a node that is gone does not.
type reloads struct{ cluster *redis.ClusterClient }

func (r reloads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r reloads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.after(ctx, err)
		return err
	}
}

func (r reloads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		r.after(ctx, err)
		return err
	}
}

func (r reloads) after(ctx context.Context, err error) {
	var said redis.Error
	_, moved := redis.IsMovedError(err)
	if err != nil && (!errors.As(err, &said) || moved || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err)) {
		r.cluster.ReloadState(ctx)
	}
}
