// Package neighbours is a program that links the system's OpenSSL and zlib beside Lever, which brings its own.
package neighbours

// #cgo pkg-config: libssl libcrypto zlib
// #include <openssl/crypto.h>
// #include <openssl/evp.h>
// #include <openssl/ssl.h>
// #include <zlib.h>
import "C"

import (
	"errors"
	"unsafe"
)

// version is that of the system's library, as it is loaded.
func version() string { return C.GoString(C.OpenSSL_version(C.OPENSSL_VERSION)) }

func sha256(data []byte) ([]byte, error) {
	sum := make([]byte, 32)
	size := C.uint(len(sum))
	if C.EVP_Digest(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)),
		(*C.uchar)(unsafe.Pointer(&sum[0])), &size, C.EVP_sha256(), nil) != 1 {
		return nil, errors.New("EVP_Digest failed")
	}
	return sum, nil
}

// context makes and frees what a TLS server begins with.
func context() bool {
	made := C.SSL_CTX_new(C.TLS_server_method())
	defer C.SSL_CTX_free(made)
	return made != nil
}

func crc32(data []byte) uint32 {
	return uint32(C.crc32(0, (*C.Bytef)(unsafe.Pointer(unsafe.SliceData(data))), C.uInt(len(data))))
}
