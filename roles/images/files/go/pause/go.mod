module kuadrant.llm/test/pause

go 1.24.0
