"""The outside worlds: feeds that bring prices and brokers that execute. None of them imports another."""
