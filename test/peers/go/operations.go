package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
)

// WireLink is a link as tests write it.
type WireLink struct {
	URL  string `json:"url"`
	Type string `json:"type"`
}

func wireLinks(links []nexus.Link) []WireLink {
	wire := make([]WireLink, 0, len(links))
	for _, link := range links {
		wire = append(wire, WireLink{URL: link.URL.String(), Type: link.Type})
	}
	return wire
}

func nexusLinks(wire []WireLink) ([]nexus.Link, error) {
	links := make([]nexus.Link, 0, len(wire))
	for _, one := range wire {
		parsed, err := url.Parse(one.URL)
		if err != nil {
			return nil, err
		}
		links = append(links, nexus.Link{URL: parsed, Type: one.Type})
	}
	return links, nil
}

func addLinks(ctx context.Context, wire []WireLink) error {
	links, err := nexusLinks(wire)
	if err == nil {
		nexus.AddHandlerLinks(ctx, links...)
	}
	return err
}

// Fault is what went wrong, as tests write it.
type Fault struct {
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
	Details  json.RawMessage   `json:"details"`
}

// cause is the error of which the library makes a Failure.
func (f *Fault) cause() error {
	if f.Metadata == nil && f.Details == nil {
		return errors.New(f.Message)
	}
	return &nexus.FailureError{Failure: nexus.Failure{Message: f.Message, Metadata: f.Metadata, Details: f.Details}}
}

// HandlerFault says which handler error.
type HandlerFault struct {
	Fault
	Type      string `json:"type"`
	Retryable *bool  `json:"retryable"`
	Times     int    `json:"times"`
}

func (f *HandlerFault) err() error {
	if f.Type == "" {
		return f.cause()
	}
	err := &nexus.HandlerError{Type: nexus.HandlerErrorType(f.Type), Cause: f.cause()}
	if f.Retryable != nil && *f.Retryable {
		err.RetryBehavior = nexus.HandlerErrorRetryBehaviorRetryable
	} else if f.Retryable != nil {
		err.RetryBehavior = nexus.HandlerErrorRetryBehaviorNonRetryable
	}
	return err
}

// Script is the input of an asynchronous operation.
type Script struct {
	Token      string      `json:"token"`    // default: "token-" and the request id
	ID         string      `json:"id"`       // its older name, where that is to differ
	Links      []WireLink  `json:"links"`    // with the 201
	Lose       int         `json:"lose"`     // so many starts are taken, but answered UNAVAILABLE
	Completion *Completion `json:"complete"` // none: it waits for POST /complete
	Cancel     Cancel      `json:"cancel"`
}

// Cancel says what becomes of a cancel request: it is accepted, unless there is
// a type; then Times (0: all) requests are answered with that error.
type Cancel struct {
	HandlerFault
	Completion *Completion `json:"complete"`
}

func (c *Cancel) answer(number int) error {
	if c.Type == "" || (c.Times > 0 && number > c.Times) {
		return nil
	}
	return c.err()
}

func echo[T any](peer *Peer, name string) nexus.Operation[T, T] {
	return nexus.NewSyncOperation(name, func(ctx context.Context, input T, options nexus.StartOperationOptions) (T, error) {
		peer.noteStart(ctx, options)
		return input, nil
	})
}

// Length is the input of an operation with a long result.
type Length struct {
	Bytes int `json:"bytes"`
}

func long(peer *Peer, name string) nexus.Operation[Length, string] {
	return nexus.NewSyncOperation(name, func(ctx context.Context, script Length, options nexus.StartOperationOptions) (string, error) {
		peer.noteStart(ctx, options)
		return strings.Repeat("x", script.Bytes-len(`""`)), nil
	})
}

func seen(peer *Peer, name string) nexus.Operation[Script, *Start] {
	return nexus.NewSyncOperation(name, func(ctx context.Context, script Script, options nexus.StartOperationOptions) (*Start, error) {
		start, _ := peer.noteStart(ctx, options)
		return start, addLinks(ctx, script.Links)
	})
}

// Unsuccessful is the input of an operation that fails or was canceled at once.
type Unsuccessful struct {
	Fault
	State nexus.OperationState `json:"state"`
}

func unsuccessful(peer *Peer, name string) nexus.Operation[Unsuccessful, nexus.NoValue] {
	return nexus.NewSyncOperation(name, func(ctx context.Context, script Unsuccessful, options nexus.StartOperationOptions) (nexus.NoValue, error) {
		peer.noteStart(ctx, options)
		return nil, &nexus.UnsuccessfulOperationError{State: script.State, Cause: script.cause()}
	})
}

func handlerError(peer *Peer, name string) nexus.Operation[HandlerFault, int] {
	return nexus.NewSyncOperation(name, func(ctx context.Context, script HandlerFault, options nexus.StartOperationOptions) (int, error) {
		_, number := peer.noteStart(ctx, options)
		if script.Times > 0 && number > script.Times {
			return number, nil
		}
		return 0, script.err()
	})
}

// asyncOperation starts once per request id, however often it is asked.
type asyncOperation struct {
	nexus.UnimplementedOperation[Script, json.RawMessage]
	name string
	peer *Peer
}

func (o *asyncOperation) Name() string { return o.name }

func (o *asyncOperation) Start(ctx context.Context, script Script, options nexus.StartOperationOptions) (
	nexus.HandlerStartOperationResult[json.RawMessage], error) {
	start, number := o.peer.noteStart(ctx, options)
	operation, isNew := o.peer.begin(start, &script)
	if isNew {
		o.peer.complete(operation, script.Completion)
	}
	if number <= script.Lose {
		return nil, nexus.HandlerErrorf(nexus.HandlerErrorTypeUnavailable, "answer %d is lost", number)
	}
	if err := addLinks(ctx, script.Links); err != nil {
		return nil, err
	}
	return &nexus.HandlerStartOperationResultAsync{OperationToken: operation.token, OperationID: operation.id}, nil
}

func (o *asyncOperation) Cancel(ctx context.Context, token string, options nexus.CancelOperationOptions) error {
	operation, err := o.peer.noteCancel(ctx, token, options)
	if err == nil {
		o.peer.complete(operation, operation.script.Cancel.Completion)
	}
	return err
}

// complete delivers now or later, as the completion says, and as often.
func (p *Peer) complete(operation *Operation, completion *Completion) {
	if completion == nil {
		return
	}
	deliver := func() {
		for delivery := 0; delivery < max(completion.Deliveries, 1); delivery++ {
			p.deliver(operation, completion)
		}
	}
	if completion.Early {
		deliver()
		return
	}
	time.AfterFunc(time.Duration(completion.After)*time.Millisecond, deliver)
}
