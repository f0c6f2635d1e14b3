"""What tests share: films and faces whose truth is known, tiny models, servers, and readers of results."""
