// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Load for tests/bench/gateway.py: as many requests as a number of connections can take, one after the other on each, each with the next key.
//
// It reads {"url", "host", "path", "body", "keys", "connections", "seconds"} from its standard input, one object a line, and answers each with
// {"requests", "seconds", "statuses", "p50_ms", "p99_ms"} on its standard output.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

type order struct {
	URL         string   `json:"url"`
	Host        string   `json:"host"`
	Path        string   `json:"path"`
	Body        string   `json:"body"`
	Keys        []string `json:"keys"`
	Connections int      `json:"connections"`
	Seconds     float64  `json:"seconds"`
}

type figures struct {
	Requests int            `json:"requests"`
	Seconds  float64        `json:"seconds"`
	Statuses map[string]int `json:"statuses"`
	P50      float64        `json:"p50_ms"`
	P99      float64        `json:"p99_ms"`
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(run(o)); err != nil {
			log.Fatal(err)
		}
	}
}

func run(o order) figures {
	client := &fasthttp.HostClient{Addr: o.URL, MaxConns: o.Connections}
	defer client.CloseIdleConnections()
	var next atomic.Int64
	var all sync.Mutex
	var taken []float64
	found := figures{Statuses: map[string]int{}}
	started := time.Now()
	end := started.Add(time.Duration(o.Seconds * float64(time.Second)))
	var running sync.WaitGroup
	for range o.Connections {
		running.Add(1)
		go func() {
			defer running.Done()
			mine, statuses := []float64{}, map[string]int{}
			request, response := &fasthttp.Request{}, &fasthttp.Response{}
			request.SetRequestURI("http://" + o.Host + o.Path)
			if o.Body != "" {
				request.Header.SetMethod("POST")
				request.Header.SetContentType("application/json")
				request.SetBodyString(o.Body)
			}
			for time.Now().Before(end) {
				if len(o.Keys) > 0 {
					request.Header.Set("Authorization", "APIKEY "+o.Keys[int(next.Add(1))%len(o.Keys)])
				}
				sent := time.Now()
				if err := client.Do(request, response); err != nil {
					statuses[err.Error()]++
					continue
				}
				mine = append(mine, float64(time.Since(sent).Microseconds())/1000)
				statuses[strconv.Itoa(response.StatusCode())]++
			}
			all.Lock()
			defer all.Unlock()
			taken = append(taken, mine...)
			for status, count := range statuses {
				found.Statuses[status] += count
			}
		}()
	}
	running.Wait()
	found.Requests, found.Seconds = len(taken), time.Since(started).Seconds()
	sort.Float64s(taken)
	if len(taken) > 0 {
		found.P50, found.P99 = taken[len(taken)/2], taken[len(taken)*99/100]
	}
	return found
}
