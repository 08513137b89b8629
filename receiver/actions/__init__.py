"""What a person or a sibling relay asks for: review, accept, rollback, resume, copy lists."""
