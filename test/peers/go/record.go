package main

import (
	"context"
	"sync"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
)

// Start is a start request as the library gave it to its handler.
type Start struct {
	Service        string       `json:"service"`
	Operation      string       `json:"operation"`
	RequestID      string       `json:"request_id"`
	CallbackURL    string       `json:"callback_url"`
	CallbackHeader nexus.Header `json:"callback_header"`
	Header         nexus.Header `json:"header"`
	Links          []WireLink   `json:"links"`
	LeftMS         *int64       `json:"left_ms"` // until its context ends
}

// CancelRequest is a cancel request, likewise.
type CancelRequest struct {
	Service   string       `json:"service"`
	Operation string       `json:"operation"`
	Token     string       `json:"token"`
	Header    nexus.Header `json:"header"`
	Error     string       `json:"error"` // what it is answered; empty: accepted
}

// Delivery is one request of the completion client and its answer.
type Delivery struct {
	Sent    map[string][]string `json:"sent"`    // headers
	Status  int                 `json:"status"`  // 0: no answer
	Body    string              `json:"body"`    // of the answer
	Failure *nexus.Failure      `json:"failure"` // what the body says, where it says so
	Error   string              `json:"error"`   // why there was no answer
}

// Operation is what this handler has started.
type Operation struct {
	token, id string
	started   time.Time
	start     *Start
	script    *Script
	canceled  int // cancel requests so far
}

// Record is what became of one request id.
type Record struct {
	Started    int              `json:"started"` // how often an operation was really begun
	Starts     []*Start         `json:"starts"`
	Cancels    []*CancelRequest `json:"cancels"`
	Deliveries []*Delivery      `json:"deliveries"`
	operation  *Operation
}

// Peer remembers everything, by request id.
type Peer struct {
	mu      sync.Mutex
	records map[string]*Record
	byToken map[string]*Operation
}

func newPeer() *Peer {
	return &Peer{records: map[string]*Record{}, byToken: map[string]*Operation{}}
}

// find is to be called with the lock held.
func (p *Peer) find(requestID string) *Record {
	record := p.records[requestID]
	if record == nil {
		record = &Record{Starts: []*Start{}, Cancels: []*CancelRequest{}, Deliveries: []*Delivery{}}
		p.records[requestID] = record
	}
	return record
}

func (p *Peer) recordOf(requestID string) Record {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *p.find(requestID)
}

func (p *Peer) operationOf(requestID string) *Operation {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.find(requestID).operation
}

// noteStart records a start request; the number says the how manieth of its
// request id it is.
func (p *Peer) noteStart(ctx context.Context, options nexus.StartOperationOptions) (*Start, int) {
	info := nexus.ExtractHandlerInfo(ctx)
	start := &Start{
		Service: info.Service, Operation: info.Operation, RequestID: options.RequestID,
		CallbackURL: options.CallbackURL, CallbackHeader: options.CallbackHeader, Header: options.Header,
		Links: wireLinks(options.Links),
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline).Milliseconds()
		start.LeftMS = &left
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	record := p.find(options.RequestID)
	record.Starts = append(record.Starts, start)
	return start, len(record.Starts)
}

// begin makes the operation of a request id, or finds the one that it has.
func (p *Peer) begin(start *Start, script *Script) (operation *Operation, isNew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record := p.find(start.RequestID)
	if record.operation != nil {
		return record.operation, false
	}
	token := script.Token
	if token == "" {
		token = "token-" + start.RequestID
	}
	record.operation = &Operation{token: token, id: script.ID, started: time.Now().UTC(), start: start, script: script}
	record.Started++
	p.byToken[token] = record.operation
	return record.operation, true
}

// noteCancel records a cancel request and says what it is to be answered.
func (p *Peer) noteCancel(ctx context.Context, token string, options nexus.CancelOperationOptions) (*Operation, error) {
	info := nexus.ExtractHandlerInfo(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	operation := p.byToken[token]
	if operation == nil {
		return nil, nexus.HandlerErrorf(nexus.HandlerErrorTypeNotFound, "no operation has token %q", token)
	}
	operation.canceled++
	err := operation.script.Cancel.answer(operation.canceled)
	request := &CancelRequest{Service: info.Service, Operation: info.Operation, Token: token, Header: options.Header}
	if err != nil {
		request.Error = err.Error()
	}
	record := p.find(operation.start.RequestID)
	record.Cancels = append(record.Cancels, request)
	return operation, err
}

func (p *Peer) noteDelivery(requestID string, delivery *Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	record := p.find(requestID)
	record.Deliveries = append(record.Deliveries, delivery)
}
