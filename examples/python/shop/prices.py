"""The tasks of wf.dig."""

import digdag


def statistics(prices, session_date):
    print(f"{session_date}: {len(prices)} prices")
    digdag.env.store(mean=sum(prices) / len(prices), highest=max(prices))


class Report:
    def __init__(self, mean, highest):
        self.mean = mean
        self.highest = highest

    def show(self, digits):
        print(f"mean {self.mean:.{digits}f}, highest {self.highest}")
