module kuadrant.llm/test/authorino-operator

go 1.26.4

require github.com/kuadrant/authorino-operator v0.26.0
