module kuadrant.llm/test/limitador-operator

go 1.26.4

require github.com/kuadrant/limitador-operator v0.18.3
