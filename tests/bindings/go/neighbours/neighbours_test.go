package neighbours

import (
	"bytes"
	stdcontext "context"
	stdsha "crypto/sha256"
	stdcrc "hash/crc32"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	lever "github.com/leveros/lever/bindings/go"
)

func TestTheSystemsOpenSSLAndLeversGetOn(t *testing.T) {
	t.Log(version())
	c, err := lever.Dial(stdcontext.Background(), lever.Options{Echo: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for range 200 {
				theirs, err := sha256([]byte("Lever"))
				if want := stdsha.Sum256([]byte("Lever")); err != nil || !bytes.Equal(theirs, want[:]) {
					t.Error("the system's OpenSSL gave", theirs, err)
				}
				if !context() || crc32([]byte("Lever")) != stdcrc.ChecksumIEEE([]byte("Lever")) {
					t.Error("the system's libraries do not work")
				}
				back, err := lever.Call[[]any](stdcontext.Background(), c, "/a/b", []any{theirs, 1}, lever.Compress())
				if err != nil || !bytes.Equal(back[0].([]byte), theirs) {
					t.Error(back, err)
				}
			}
		}()
	}
	all.Wait()
	// Lever's own, with a certificate that is none: the error is its own, too.
	if _, err := lever.Dial(stdcontext.Background(), lever.Options{Host: "tls:127.0.0.1:1",
		TLS: &lever.TLSOptions{CA: "/dev/null"}}); err == nil {
		t.Error("a file without certificates was taken")
	}
}

// What the linker made has the system's library as a shared one, and none of Lever's own symbols of it.
func TestNoSymbolOfLeversIsSeen(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dynamic, err := exec.Command("nm", "-D", "--undefined-only", self).Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dynamic), " EVP_Digest") {
		t.Error("EVP_Digest is not the system's")
	}
	global, err := exec.Command("nm", "--extern-only", "--defined-only", self).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(global), "\n") {
		if words := strings.Fields(line); len(words) == 3 && (strings.HasPrefix(words[2], "SSL_") ||
			strings.HasPrefix(words[2], "EVP_") || strings.HasPrefix(words[2], "nghttp2_") || words[2] == "inflate") {
			t.Error(words[2], "is defined here")
		}
	}
}
