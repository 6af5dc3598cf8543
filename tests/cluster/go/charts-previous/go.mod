module kuadrant.llm/test/charts-previous

go 1.24.0

require (
	github.com/kuadrant/kuadrant-operator v1.5.1
)
