module kuadrant.llm/build/dns-operator

go 1.26.4

require github.com/kuadrant/dns-operator v0.17.1
