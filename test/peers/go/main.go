// Program nexus_pg_peer is a Nexus handler that speaks the old wire format, for
// tests: the HTTP handler and the completion client of nexus-rpc/sdk-go v0.4.0,
// as they are.
//
// It prints "port N" when it listens, and leaves when its standard input ends.
// Below /nexus, service "old" has these operations:
//
//	echo-json, echo-bytes, echo-nothing
//	              200 with the input
//	long          200 with {"bytes"} bytes of JSON
//	seen          200 with what the library gave its handler: the request id, the
//	              callback, headers, links, and how long it has
//	async         201, then a callback; see Script
//	unsuccessful  424: {"state", "message", "metadata", "details"}
//	error         a handler error: {"type", "message", "metadata", "details", "retryable"}, or with
//	              "type": "" a plain Go error; the first "times" starts of each request id
//	              only, where that is given
//
// and service "Ser/vic e" has "f/o/o", which is as async, and "i need to/be
// escaped", which is as seen.  "links" (a list of {"url", "type"}) go with every
// 200 and 201.
//
//	GET  /record?request_id=ID    the starts, cancels and deliveries of that operation
//	POST /complete?request_id=ID  completes that operation (again) as the body (a
//	                              Completion) says, and answers what that was answered
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"

	"github.com/nexus-rpc/sdk-go/nexus"
)

const nexusPath = "/nexus"

func newNexusHandler(peer *Peer) (http.Handler, error) {
	old := nexus.NewService("old")
	old.MustRegister(echo[json.RawMessage](peer, "echo-json"), echo[[]byte](peer, "echo-bytes"),
		echo[nexus.NoValue](peer, "echo-nothing"), long(peer, "long"), seen(peer, "seen"), &asyncOperation{name: "async", peer: peer},
		unsuccessful(peer, "unsuccessful"), handlerError(peer, "error"))
	escaped := nexus.NewService("Ser/vic e")
	escaped.MustRegister(&asyncOperation{name: "f/o/o", peer: peer}, seen(peer, "i need to/be escaped"))

	registry := nexus.NewServiceRegistry()
	if err := registry.Register(old, escaped); err != nil {
		return nil, err
	}
	handler, err := registry.NewHandler()
	if err != nil {
		return nil, err
	}
	// It logs each error that a test asks for.
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	return nexus.NewHTTPHandler(nexus.HandlerOptions{Handler: handler, Logger: logger}), nil
}

func writeJSON(writer http.ResponseWriter, value any) {
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(value); err != nil {
		log.Print(err)
	}
}

func serveRecord(peer *Peer) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		writeJSON(writer, peer.recordOf(request.URL.Query().Get("request_id")))
	}
}

func serveComplete(peer *Peer) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		var completion Completion
		if err := json.NewDecoder(request.Body).Decode(&completion); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		operation := peer.operationOf(request.URL.Query().Get("request_id"))
		if operation == nil {
			http.Error(writer, "no such operation", http.StatusNotFound)
			return
		}
		writeJSON(writer, peer.deliver(operation, &completion))
	}
}

func main() {
	log.SetPrefix("nexus_pg_peer: ")
	log.SetFlags(0)
	peer := newPeer()
	handler, err := newNexusHandler(peer)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(nexusPath+"/", http.StripPrefix(nexusPath, handler))
	mux.HandleFunc("/record", serveRecord(peer))
	mux.HandleFunc("/complete", serveComplete(peer))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("port %d\n", listener.Addr().(*net.TCPAddr).Port)
	go func() {
		log.Fatal(http.Serve(listener, mux))
	}()
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		log.Fatal(err)
	}
}
