module kuadrant.llm/test/charts

go 1.24.0

require (
	github.com/kuadrant/authorino-operator v0.26.0
	github.com/kuadrant/dns-operator v0.17.1
	github.com/kuadrant/kuadrant-operator v1.5.2
	github.com/kuadrant/limitador-operator v0.18.3
	istio.io/istio v0.0.0-20260827124520-eed52ebb66ad
)
