package lever

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// A Code says what kind of trouble an [Error] is. The numbers are those of include/lever/status.h; up
// to 16 they are gRPC's.
type Code int32

// String gives the code's name, "NOT_FOUND".
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return "Code(" + strconv.Itoa(int(c)) + ")"
}

// Executed says whether a method ran, as far as the caller can know.
type Executed int32

const (
	// ExecutedUnknown: it may have run, wholly or in part.
	ExecutedUnknown Executed = 0
	// ExecutedNo: it surely did not run, and may be called again.
	ExecutedNo Executed = 1
	// ExecutedYes: it ran and answered.
	ExecutedYes Executed = 2
)

// String gives "unknown", "no" or "yes".
func (e Executed) String() string {
	switch e {
	case ExecutedNo:
		return "no"
	case ExecutedYes:
		return "yes"
	default:
		return "unknown"
	}
}

// An Error is trouble of the platform: the method did not answer.
type Error struct {
	Code     Code
	Message  string
	Executed Executed
	// Cause is the error of the context that ended the call, or what else was behind it; nil without.
	Cause error
	// ResumeToken and ResumeReceived are of a client's stream that has ended and could be resumed, and nil
	// and 0 of others: the last token that came with a message, empty without, and how many messages had
	// come. With the option [Resume] the stream is taken up again there.
	ResumeToken    []byte
	ResumeReceived uint64
}

// Error gives code and text, "lever: NOT_FOUND: ...".
func (e *Error) Error() string { return "lever: " + e.Code.String() + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is has a deadline that passed be context.DeadlineExceeded, whoever noticed it first.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == CodeDeadlineExceeded
}

// ErrMoved is what a method's [Stream.Recv] gives when the resource moves to another instance. A method that
// returns it has its stream go on there, see [ResourceResumer].
var ErrMoved = errors.New("lever: the resource of the stream moves to another instance")

// A MethodError is the error that a method answered with. A method returns one to answer with an
// error of its own making; any other error that it returns arrives as {"name", "message"}.
type MethodError struct {
	// Value is what the method answered: []byte if it answered with bytes.
	Value any

	payload payload
}

// NewMethodError makes an error for a method to answer with.
func NewMethodError(value any) *MethodError { return &MethodError{Value: value} }

// Error gives the value's message if it has one, or the value itself if it is a text.
func (e *MethodError) Error() string {
	switch value := e.Value.(type) {
	case string:
		return value
	case map[string]any:
		if text, ok := value["message"].(string); ok {
			return text
		}
	case error:
		return value.Error()
	}
	return codeTexts[codeMethodError]
}

// Decode stores the value in what target points to.
func (e *MethodError) Decode(target any) error {
	if e.payload.kind != kindNone {
		return e.payload.decode(target)
	}
	data, err := appendValue(nil, e.Value)
	if err != nil {
		return err
	}
	return decodeValue(data, target)
}

// refusal is what was refused before anything was sent.
func refusal(code Code, message string) *Error {
	if message == "" {
		message = codeTexts[code]
	}
	return &Error{Code: code, Message: message, Executed: ExecutedNo}
}

func invalid(format string, args ...any) *Error {
	detailed := fmt.Errorf(format, args...)
	err := refusal(CodeInvalidArgument, detailed.Error())
	err.Cause = errors.Unwrap(detailed)
	return err
}

// withCause says that it was this context that ended the call.
func (e *Error) withCause(ctx context.Context) *Error {
	if e.Code != CodeCancelled && e.Code != CodeDeadlineExceeded {
		return e
	}
	if err := ctx.Err(); err != nil {
		e.Cause = context.Cause(ctx)
		if !errors.Is(e.Cause, err) {
			e.Cause = fmt.Errorf("%w: %w", err, e.Cause)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			e.Code = CodeDeadlineExceeded
		}
	}
	return e
}

// contextError is for a context that is over before anything was sent.
func contextError(ctx context.Context) *Error {
	code := CodeCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		code = CodeDeadlineExceeded
	}
	return refusal(code, "the context ended before the call").withCause(ctx)
}
