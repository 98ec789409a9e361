package main

import "crypto/tls"

// tlsConfig is TLS 1.2 and newer. Of 1.2 only what encrypts and authenticates in one (AEAD) with a fresh key for each
// connection, RFC 9325 section 4.2: Go's own list has CBC suites for clients that know nothing better. Those of 1.3 are
// such, and cannot be chosen.
func tlsConfig(certificate *certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate.get,
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
	}
}
