package lever

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

type vectorInput []byte

func (v *vectorInput) UnmarshalJSON(text []byte) error {
	var parts struct {
		Hex, Then string
		Times     int
		ThenTimes int `json:"then_times"`
	}
	parts.Times, parts.ThenTimes = 1, 1
	if text[0] == '"' {
		if err := json.Unmarshal(text, &parts.Hex); err != nil {
			return err
		}
	} else if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	data, err := hex.DecodeString(strings.Repeat(parts.Hex, parts.Times) + strings.Repeat(parts.Then, parts.ThenTimes))
	*v = data
	return err
}

type valueVectors struct {
	Both    []struct{ Msgpack vectorInput }
	ToJSON  []struct{ Msgpack vectorInput } `json:"msgpack_to_json"`
	Valid   []vectorInput                   `json:"valid_msgpack"`
	Invalid []vectorInput                   `json:"invalid_msgpack"`
}

func vectors(t testing.TB) valueVectors {
	text, err := os.ReadFile(source(t, "tests", "vectors", "values.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v valueVectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVectorsComeBackAsTheSameBytes(t *testing.T) {
	v := vectors(t)
	if len(v.Both) < 90 {
		t.Fatalf("%d vectors", len(v.Both))
	}
	// A Go map has a key once.
	otherwise := map[string]bool{"82a16101a16102": true, "82a624627974657301a624627974657302": true}
	for _, vector := range v.Both {
		var value any
		if err := decodeValue(vector.Msgpack, &value); err != nil {
			t.Errorf("%x: %v", vector.Msgpack, err)
			continue
		}
		back, err := appendValue(nil, value)
		if err != nil {
			t.Errorf("%x: %v", vector.Msgpack, err)
			continue
		}
		var again any
		if err := decodeValue(back, &again); err != nil {
			t.Errorf("%x: %v", back, err)
		}
		if bytes.Equal(back, vector.Msgpack) || otherwise[hex.EncodeToString(vector.Msgpack)] {
			continue
		}
		// Maps have no order in Go.
		if len(back) != len(vector.Msgpack) || !reflect.DeepEqual(again, value) {
			t.Errorf("%x became %x", vector.Msgpack, back)
		}
	}
}

func TestValidInputsDecodeToWhatMeansTheSame(t *testing.T) {
	v := vectors(t)
	inputs := v.Valid
	for _, vector := range v.ToJSON {
		inputs = append(inputs, vector.Msgpack)
	}
	for _, input := range inputs {
		var value, again any
		if err := decodeValue(input, &value); err != nil {
			t.Errorf("%.40x: %v", input, err)
			continue
		}
		back, err := appendValue(nil, value)
		if err != nil {
			t.Errorf("%.40x: %v", input, err)
		}
		if err := decodeValue(back, &again); err != nil || !reflect.DeepEqual(value, again) && !hasNaN(value) {
			t.Errorf("%.40x: %v, %.80v and %.80v", input, err, value, again)
		}
	}
}

func hasNaN(v any) bool {
	f, ok := v.(float64)
	return ok && math.IsNaN(f)
}

func TestInvalidInputsAreRefusedByTheLibraryAndCrashNothingHere(t *testing.T) {
	c := dial(t, Options{Echo: true})
	for _, input := range vectors(t).Invalid {
		if len(input) == 0 {
			continue // no value at all is written as nil
		}
		_, err := Invoke[any](context.Background(), c, "/echo/echo", msgpack.RawMessage(input))
		if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedNo {
			t.Errorf("%.40x: %v", []byte(input), err)
		}
		var value any
		_ = decodeValue(input, &value)
		var typed struct{ A []map[string][]int }
		_ = decodeValue(input, &typed)
	}
}

type named struct {
	First  string `msgpack:"first"`
	Second int    `json:"second,omitempty"`
	Hidden string `msgpack:"-"`
	Plain  float64
	inner  int
}

type embedding struct {
	named
	*Pointed
	Third []named `msgpack:"third"`
}

type Pointed struct {
	Deep bool `msgpack:"deep"`
}

type recursive struct {
	Next *recursive `msgpack:"next"`
	Any  any        `msgpack:"any"`
}

type uuid [16]byte

func (u uuid) MarshalText() ([]byte, error) {
	h := hex.EncodeToString(u[:])
	return []byte(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]), nil
}
func (u uuid) MarshalBinary() ([]byte, error) { return u[:], nil }
func (u *uuid) UnmarshalText(text []byte) error {
	_, err := hex.Decode(u[:], bytes.ReplaceAll(text, []byte("-"), nil))
	return err
}

type custom struct{ n int }

func (c *custom) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeInt(int64(c.n)) }
func (c *custom) DecodeMsgpack(d *msgpack.Decoder) (err error) {
	c.n, err = d.DecodeInt()
	return err
}

// there sends a value, and gives what arrives as the same type, and as an any.
func there[T any](t *testing.T, c *Client, value T) (T, any) {
	t.Helper()
	type two struct {
		typed T
	}
	back, err := Invoke[[]T](context.Background(), c, "/echo/echo", value, value)
	if err != nil {
		t.Fatalf("%T %v: %v", value, value, err)
	}
	loose, err := Invoke[[]any](context.Background(), c, "/echo/echo", value, 1)
	if err != nil {
		t.Fatalf("%T %v: %v", value, value, err)
	}
	return two{back[1]}.typed, loose[0]
}

func comesBack[T any](t *testing.T, c *Client, value T, loose any) {
	t.Helper()
	typed, untyped := there(t, c, value)
	if !reflect.DeepEqual(typed, value) {
		t.Errorf("%T %v came back as %v", value, value, typed)
	}
	if !reflect.DeepEqual(untyped, loose) {
		t.Errorf("%T %v is %T %v in an any, not %T", value, value, untyped, untyped, loose)
	}
}

func TestTypesComeBack(t *testing.T) {
	c := dial(t, Options{Echo: true})
	comesBack(t, c, true, true)
	comesBack(t, c, int64(math.MinInt64), int64(math.MinInt64))
	comesBack(t, c, uint64(math.MaxUint64), uint64(math.MaxUint64))
	comesBack(t, c, int8(-128), int64(-128))
	comesBack(t, c, uint16(65535), int64(65535))
	comesBack(t, c, 1.5, 1.5)
	comesBack(t, c, float32(1.5), 1.5)
	comesBack(t, c, math.Inf(-1), math.Inf(-1))
	comesBack(t, c, strings.Repeat("é", 40000), strings.Repeat("é", 40000))
	comesBack(t, c, []byte{1, 2}, []byte{1, 2})
	comesBack(t, c, [3]byte{1, 2, 3}, []byte{1, 2, 3})
	comesBack(t, c, []int{1, 2, 3}, []any{int64(1), int64(2), int64(3)})
	comesBack(t, c, make([]int, 70000), make0(70000))
	comesBack(t, c, [2]string{"a", "b"}, []any{"a", "b"})
	comesBack(t, c, map[string]int{"a": 1}, map[string]any{"a": int64(1)})
	comesBack(t, c, map[int]string{1: "a"}, map[any]any{int64(1): "a"})
	comesBack(t, c, map[any]any{"a": int64(1), int64(2): "b"}, map[any]any{"a": int64(1), int64(2): "b"})
	comesBack(t, c, Map{{[]byte{1}, "a"}, {"b", nil}}, Map{{[]byte{1}, "a"}, {"b", nil}})
	comesBack(t, c, Ext{7, []byte{1, 2, 3}}, Ext{7, []byte{1, 2, 3}})
	comesBack(t, c, Ext{-2, make([]byte, 16)}, Ext{-2, make([]byte, 16)})
	comesBack(t, c, named{First: "a", Plain: 1}, map[string]any{"first": "a", "Plain": 1.0})
	comesBack(t, c, embedding{named: named{First: "a", Second: 2}, Pointed: &Pointed{true}, Third: []named{}},
		map[string]any{"first": "a", "second": int64(2), "Plain": 0.0, "deep": true, "third": []any{}})
	comesBack(t, c, &named{First: "a"}, map[string]any{"first": "a", "Plain": 0.0})
	comesBack[*named](t, c, nil, nil)
	comesBack[any](t, c, nil, nil)
	comesBack(t, c, recursive{Next: &recursive{Any: []any{"x"}}},
		map[string]any{"next": map[string]any{"next": nil, "any": []any{"x"}}, "any": nil})
	comesBack(t, c, uuid{0x12, 15: 0x34}, "12000000-0000-0000-0000-000000000034")
	comesBack(t, c, netip.MustParseAddr("10.0.0.1"), "10.0.0.1")
	comesBack(t, c, custom{5}, int64(5))
	comesBack(t, c, msgpack.RawMessage{0x93, 1, 2, 3}, []any{int64(1), int64(2), int64(3)})
	comesBack(t, c, 5*time.Second, int64(5*time.Second))
}

func make0(n int) []any {
	zeros := make([]any, n)
	for i := range zeros {
		zeros[i] = int64(0)
	}
	return zeros
}

func TestTimesComeBack(t *testing.T) {
	c := dial(t, Options{Echo: true})
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(1700000000, 123456789), time.Unix(1<<34, 1), time.Unix(-1, 999999999),
		time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		comesBack(t, c, at.UTC(), any(at.UTC()))
		comesBack(t, c, TimestampOf(at), any(at.UTC()))
	}
	far := Timestamp{math.MaxInt64, 1}
	comesBack(t, c, far, any(far))
	near := Timestamp{math.MinInt64, 999999999}
	comesBack(t, c, near, any(near))
	if _, err := Invoke[[]time.Time](context.Background(), c, "/echo/echo", far, far); err == nil {
		t.Error("a time that time.Time cannot hold went into one")
	}
}

func TestWhatDoesNotFitIsAnErrorThatSaysThatTheMethodRan(t *testing.T) {
	c := dial(t, Options{Echo: true})
	_, err := Invoke[[]int8](context.Background(), c, "/echo/echo", 1, 128)
	if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedYes ||
		!strings.Contains(e.Message, "[1]: the integer 128 does not go into a int8") {
		t.Error(err)
	}
	for _, try := range []func() error{
		func() error { _, err := Invoke[string](context.Background(), c, "/echo/echo", 1, 2); return err },
		func() error { _, err := Invoke[[]uint](context.Background(), c, "/echo/echo", -1, 2); return err },
		func() error { _, err := Invoke[[]string](context.Background(), c, "/echo/echo", 1.5, 2); return err },
		func() error {
			_, err := Invoke[map[string]any](context.Background(), c, "/echo/echo", 1, 2)
			return err
		},
		func() error { _, err := Invoke[[1]any](context.Background(), c, "/echo/echo", 1, 2); return err },
		func() error { _, err := Invoke[[]named](context.Background(), c, "/echo/echo", "x", 2); return err },
		func() error { _, err := Invoke[string](context.Background(), c, "/echo/echo", []byte("x")); return err },
	} {
		if e := trouble(t, try()); e.Code != CodeInvalidArgument {
			t.Error(e)
		}
	}
	if floats, err := Invoke[[]float64](context.Background(), c, "/echo/echo", 1, 2.5); err != nil || floats[0] != 1 {
		t.Error(floats, err)
	}
}

func TestWhatCannotBeSentIsRefusedAndNothingOfItIs(t *testing.T) {
	c := dial(t, Options{Echo: true})
	circle := []any{nil}
	circle[0] = circle
	loop := map[string]any{}
	loop["loop"] = loop
	chain := &recursive{}
	chain.Next = chain
	deep := any(1)
	for range 130 {
		deep = []any{deep}
	}
	for _, value := range []any{circle, loop, chain, deep, make(chan int), func() {}, complex(1, 2), "a\xffb",
		map[string]any{"\xff": 1}, Timestamp{0, 1e9}, struct{ C chan int }{}, errBadMarshal{}} {
		_, err := Invoke[any](context.Background(), c, "/echo/echo", value, 1)
		if e := trouble(t, err); e.Code != CodeInvalidArgument || e.Executed != ExecutedNo {
			t.Errorf("%T: %v", value, err)
		}
	}
	if back, err := Invoke[[]int](context.Background(), c, "/echo/echo", 1, 2); err != nil || back[1] != 2 {
		t.Error(back, err)
	}
}

type errBadMarshal struct{}

func (errBadMarshal) MarshalText() ([]byte, error) { return nil, errors.New("no text") }

func TestBytesThatWereReceivedAreTheProgramsOwn(t *testing.T) {
	c := dial(t, Options{Echo: true})
	first, err := Invoke[[]byte](context.Background(), c, "/echo/echo", []byte("first"))
	if err != nil {
		t.Fatal(err)
	}
	inner, _ := Invoke[[]any](context.Background(), c, "/echo/echo", []byte("inner"), 1)
	for range 100 {
		Invoke[[]byte](context.Background(), c, "/echo/echo", []byte("other"))
	}
	if string(first) != "first" || string(inner[0].([]byte)) != "inner" {
		t.Error(string(first), inner)
	}
	if empty, err := Invoke[[]byte](context.Background(), c, "/echo/echo", []byte(nil)); err != nil || empty == nil || len(empty) != 0 {
		t.Error(empty, err)
	}
}

func TestValuesAreThoseOfAnotherImplementation(t *testing.T) {
	for _, value := range []any{nil, true, "text", strings.Repeat("ü", 100), int64(1), int64(-1), int64(300),
		int64(-70000), 1.25, map[string]any{"a": map[string]any{"b": "c"}}, []byte("bytes"), uint64(1 << 63)} {
		theirs, err := msgpack.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		var read any
		if err := decodeValue(theirs, &read); err != nil || !reflect.DeepEqual(read, value) {
			t.Error(value, read, err)
		}
		ours, _ := appendValue(nil, value)
		back := reflect.New(reflect.TypeFor[any]())
		if value != nil {
			back = reflect.New(reflect.TypeOf(value))
		}
		if err := msgpack.Unmarshal(ours, back.Interface()); err != nil || !reflect.DeepEqual(back.Elem().Interface(), value) {
			t.Error(value, back.Elem(), err)
		}
	}
}

func TestWhatIsTooLargeForARecordIsRefused(t *testing.T) {
	if err := checkSize(payloadBytesMax); err != nil {
		t.Error(err)
	}
	if e := trouble(t, checkSize(1<<32+8)); e.Code != CodeResourceExhausted {
		t.Error(e)
	}
}

func FuzzDecode(f *testing.F) {
	v := vectors(f)
	for _, vector := range v.Both {
		f.Add([]byte(vector.Msgpack))
	}
	for _, input := range v.Invalid {
		if len(input) < 1000 {
			f.Add([]byte(input))
		}
	}
	f.Add([]byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0xdf, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{0x92, 0x91, 0x01}) // ends before the second of two
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		if decodeValue(data, &value) == nil {
			if _, err := appendValue(nil, value); err != nil {
				t.Error(err)
			}
		}
		var typed recursive
		_ = decodeValue(data, &typed)
		var list []map[string]*named
		_ = decodeValue(data, &list)
		var parts []msgpack.RawMessage
		_ = decodeValue(data, &parts)
	})
}

func TestCodesAreMadeFromTheListAsItIs(t *testing.T) {
	made := exec.Command("go", "run", "./tools/makecodes", source(t, "include", "lever", "status.h"))
	made.Dir = source(t, "bindings", "go")
	output, err := made.Output()
	if err != nil {
		t.Fatal(err)
	}
	formatted := exec.Command("gofmt")
	formatted.Stdin = bytes.NewReader(output)
	want, err := formatted.Output()
	if err != nil {
		t.Fatal(err)
	}
	if is, _ := os.ReadFile(source(t, "bindings", "go", "codes.go")); !bytes.Equal(is, want) {
		t.Error("bindings/go/codes.go is not what tools/makecodes makes")
	}
}
