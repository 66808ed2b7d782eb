// net/http/httputil.ReverseProxy as one writes it: a director that sets host and bearer, kept connections, verified TLS.
// Arguments: port, address of the broker, file of the authority to trust. The bearer is in $BENCH_TOKEN.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

func main() {
	broker, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	pem, err := os.ReadFile(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(pem)
	bearer := "Bearer " + os.Getenv("BENCH_TOKEN")
	proxy := httputil.NewSingleHostReverseProxy(broker)
	direct := proxy.Director
	proxy.Director = func(request *http.Request) {
		direct(request)
		request.Host = broker.Host
		request.Header.Set("Authorization", bearer)
	}
	proxy.Transport = &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: trust},
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 256, // the default of 2 would dial most calls anew
		DisableCompression:  true,
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], proxy))
}
