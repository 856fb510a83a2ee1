package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"parsec/internal/api/agentv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/socket"
)

// cut returns a text as a message can carry it: valid, and of bounded length.
func cut(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return valid(text)
}

func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// failureOf returns an error as the API tells it.
func failureOf(err error) *agentv1.Failure {
	message := err.Error()
	if promise := fault.PromiseOf(err); promise != "" {
		message = strings.TrimPrefix(message, fmt.Sprintf("broken promise (%s): ", promise)) // which is said apart
	}
	return &agentv1.Failure{
		Kind: fault.KindOf(err).String(), Message: cut(message), Hint: cut(fault.HintOf(err)), Promise: cut(fault.PromiseOf(err)),
	}
}

// errorOf returns the error that the API told.
func errorOf(f *agentv1.Failure) error {
	e := &fault.Error{Kind: fault.Failed, Hint: f.GetHint(), Promise: f.GetPromise(), Err: errors.New(f.GetMessage())}
	if i := slices.IndexFunc(fault.Kinds(), func(k fault.Kind) bool { return k.String() == f.GetKind() }); i >= 0 {
		e.Kind = fault.Kinds()[i]
	}
	return e
}

// unwrapped returns an error of a call as it was on the other side.
func unwrapped(err error) error {
	if errors.Is(err, socket.ErrNobody) {
		return socket.ErrNobody
	}
	e, ok := errors.AsType[*connect.Error](err)
	if !ok {
		return err
	}
	for _, d := range e.Details() {
		f := new(agentv1.Failure)
		if d.Type == string(f.ProtoReflect().Descriptor().FullName()) && proto.Unmarshal(d.Value, f) == nil {
			return errorOf(f)
		}
	}
	return fmt.Errorf("ask the process that holds the device: %w", err)
}
