// Copyright (c) The kuadrant.llm authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The simulator, with the series process_* beside its own, as vLLM has them. A bill needs process_start_time_seconds:
// it tells a counter that grew from one that started anew and grew past its old value.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/llm-d/llm-d-inference-sim/cmd/signals"
	"github.com/llm-d/llm-d-inference-sim/pkg/common"
	"github.com/llm-d/llm-d-inference-sim/pkg/communication"
	vllmsim "github.com/llm-d/llm-d-inference-sim/pkg/llm-d-inference-sim"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "llm-d-inference-sim:", err)
		os.Exit(1)
	}
}

func run() error {
	logger := klog.Background()
	ctx := signals.SetupSignalHandler(klog.NewContext(context.Background(), logger))
	config, err := common.ParseCommandParamsAndLoadConfig()
	if err != nil {
		return err
	}
	simulators, err := vllmsim.Start(ctx, config, logger)
	if err != nil {
		return err
	}
	servers := new(errgroup.Group)
	for _, simulator := range simulators {
		process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
		if err := simulator.Context.MetricsRegistry().Register(process); err != nil {
			return err
		}
		servers.Go(func() error { return communication.Start(ctx, logger, simulator) })
	}
	return servers.Wait()
}
