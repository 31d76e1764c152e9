package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"ais-gateway/internal/store/send"
)

func newClusterClient(o *redis.ClusterOptions, observers []Observer) *redis.ClusterClient {
	// Otherwise the client first requests the list of commands, repeatedly if it has no permission
	// for that.
	o.DisableRoutingPolicies = true
	cluster := redis.NewClusterClient(o)
	cluster.OnNewNode(func(node *redis.Client) {
		send.Batch(node)
		for _, by := range observers { // on each node, because some commands are sent to a specific node
			node.AddHook(metricsHook{by})
		}
		node.AddHook(reloadOnNodeFailure{cluster})
		node.AddHook(&connections{})
		send.Resend(node)
	})
	return cluster
}

// reloadOnNodeFailure makes the cluster client reload the slot table when a node fails. By default
// it reloads every ten seconds and on MOVED, which a failed node does not send.
type reloadOnNodeFailure struct{ cluster *redis.ClusterClient }

func (r reloadOnNodeFailure) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r reloadOnNodeFailure) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		r.after(ctx, err)
		return err
	}
}

func (r reloadOnNodeFailure) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		r.after(ctx, err)
		return err
	}
}

func (r reloadOnNodeFailure) after(ctx context.Context, err error) {
	var reply redis.Error
	_, moved := redis.IsMovedError(err)
	if err != nil && (!errors.As(err, &reply) || moved || redis.IsReadOnlyError(err) || redis.IsClusterDownError(err)) {
		r.cluster.ReloadState(ctx)
	}
}
