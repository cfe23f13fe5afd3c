package main

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
)

const (
	deliveryTimeout = 30 * time.Second
	noStartTime     = "none"
)

// Completion says when an operation is completed, and with what.
type Completion struct {
	Fault                           // where it did not succeed
	State      nexus.OperationState `json:"state"`      // default: succeeded
	Result     json.RawMessage      `json:"result"`     // none: no value
	Bytes      []byte               `json:"bytes"`      // in place of a result
	Early      bool                 `json:"early"`      // before the start is answered
	After      int                  `json:"after"`      // ms
	Deliveries int                  `json:"deliveries"` // how often, one after the other
	Links      []WireLink           `json:"links"`
	StartTime  string               `json:"start_time"` // RFC 3339, or "none"; default: when it was started
	Header     map[string]string    `json:"header"`     // in place of callback headers; empty: left out
}

func (c *Completion) startTime(operation *Operation) (time.Time, error) {
	switch c.StartTime {
	case "":
		return operation.started, nil
	case noStartTime:
		return time.Time{}, nil
	}
	// The library does not convert to UTC before it writes GMT.
	start, err := time.Parse(time.RFC3339, c.StartTime)
	return start.UTC(), err
}

func (c *Completion) value() any {
	if c.Bytes != nil {
		return c.Bytes
	}
	if c.Result != nil {
		return c.Result
	}
	return nil
}

func (c *Completion) callbackHeader(operation *Operation) nexus.Header {
	header := maps.Clone(operation.start.CallbackHeader)
	for name, value := range c.Header {
		delete(header, name)
		if value != "" {
			header.Set(name, value)
		}
	}
	return header
}

// build makes what the library delivers.
func (c *Completion) build(operation *Operation) (nexus.OperationCompletion, error) {
	start, err := c.startTime(operation)
	if err != nil {
		return nil, err
	}
	links, err := nexusLinks(c.Links)
	if err != nil {
		return nil, err
	}
	if c.State == "" || c.State == nexus.OperationStateSucceeded {
		completion, err := nexus.NewOperationCompletionSuccessful(c.value(), nexus.OperationCompletionSuccessfulOptions{
			OperationToken: operation.token, StartTime: start, Links: links,
		})
		if err != nil {
			return nil, err
		}
		completion.Header = c.callbackHeader(operation)
		return completion, nil
	}
	failed := &nexus.OperationError{State: c.State, Cause: c.cause()}
	completion, err := nexus.NewOperationCompletionUnsuccessful(failed, nexus.OperationCompletionUnsuccessfulOptions{
		OperationToken: operation.token, StartTime: start, Links: links,
	})
	if err != nil {
		return nil, err
	}
	completion.Header = c.callbackHeader(operation)
	return completion, nil
}

// post sends the completion and reads the answer.
func (c *Completion) post(operation *Operation, delivery *Delivery) error {
	completion, err := c.build(operation)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deliveryTimeout)
	defer cancel()
	request, err := nexus.NewCompletionHTTPRequest(ctx, operation.start.CallbackURL, completion)
	if err != nil {
		return err
	}
	delivery.Sent = request.Header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	delivery.Status = response.StatusCode
	delivery.Body = string(body)
	var failure nexus.Failure
	if len(body) > 0 && json.Unmarshal(body, &failure) == nil {
		delivery.Failure = &failure
	}
	return nil
}

func (p *Peer) deliver(operation *Operation, completion *Completion) *Delivery {
	delivery := &Delivery{}
	if err := completion.post(operation, delivery); err != nil {
		delivery.Error = err.Error()
	}
	p.noteDelivery(operation.start.RequestID, delivery)
	return delivery
}
