// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A day of a limiter's counters as blocks of Prometheus: close_day DATA USERS START (seconds). Prints the growth of each metric as JSON.
//
// promtool's backfill parses a line of text for each sample, of which there are more than a hundred million: this takes the storage itself.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

const (
	interval = 30_000
	block    = 7_200_000
	day      = 86_400_000
	// One in so many scrapes finds that a counter has moved: most users are idle most of the time.
	idle = 50
)

type series struct {
	labels labels.Labels
	metric string
	value  float64
	moves  bool
	before float64
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("close_day DATA USERS START")
	}
	users, start := number(os.Args[2]), number(os.Args[3])*1000
	random := rand.New(rand.NewPCG(6, 6))
	all := made(int(users), float64(start-day)/1000, random)
	// One scrape before the day: its values are those at the start.
	for begin := start - block; begin < start+day; begin += block {
		if err := write(os.Args[1], all, begin, start, random); err != nil {
			log.Fatal(err)
		}
	}
	grown := map[string]int64{}
	for _, one := range all {
		if one.moves {
			grown[one.metric] += int64(one.value - one.before)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(map[string]any{"grown": grown, "series": len(all)}); err != nil {
		log.Fatal(err)
	}
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func made(users int, since float64, random *rand.Rand) []*series {
	target := []string{"job", "limitador", "instance", "10.0.0.1:8080"}
	of := func(metric string, value float64, moves bool, more ...string) *series {
		pairs := append(append([]string{labels.MetricName, metric}, target...), more...)
		return &series{labels.FromStrings(pairs...), metric, value, moves, value}
	}
	all := []*series{of("limitador_up", 1, false), of("limitador_counting_since_seconds", since, false, "life", "bench")}
	for user := range users {
		who := []string{
			"limitador_namespace", "llm/route", "user", fmt.Sprintf("user-%05d", user),
			"group", fmt.Sprintf("group-%d", user%40), "tier", fmt.Sprintf("tier-%d", user%3),
		}
		all = append(all, of("authorized_calls", float64(1+random.IntN(100_000)), true, who...))
		for _, model := range []string{"small", "large"} {
			for _, part := range []string{"prompt", "completion"} {
				own := append(append([]string{}, who...), "model", model, "type", part)
				all = append(all, of("reported_tokens", float64(1+random.IntN(100_000)), true, own...))
			}
		}
	}
	return all
}

func write(folder string, all []*series, begin, start int64, random *rand.Rand) error {
	ctx := context.Background()
	writer, err := tsdb.NewBlockWriter(slog.New(slog.NewTextHandler(io.Discard, nil)), folder, 2*block) // takes samples that are older than the newest by half of that
	if err != nil {
		return err
	}
	defer writer.Close()
	for first := 0; first < len(all); first += 5_000 {
		appender := writer.Appender(ctx)
		for _, one := range all[first:min(first+5_000, len(all))] {
			if err := one.scrape(func(moment int64, value float64) error {
				_, err := appender.Append(0, one.labels, moment, value)
				return err
			}, max(begin, start-interval), begin+block, start, random); err != nil {
				return err
			}
		}
		if err := appender.Commit(); err != nil {
			return err
		}
	}
	_, err = writer.Flush(ctx)
	return err
}

func (one *series) scrape(add func(int64, float64) error, from, to, start int64, random *rand.Rand) error {
	for moment := from; moment < to; moment += interval {
		if one.moves && random.IntN(idle) == 0 {
			one.value += float64(1 + random.IntN(3_000))
		}
		if moment <= start { // a sample at the start is of the period before
			one.before = one.value
		}
		if err := add(moment, one.value); err != nil {
			return err
		}
	}
	return nil
}
