"""A referee of Go in plain Python: sets of points, and what the rules say, word for word."""

BLACK, WHITE = 1, -1


class Referee:
    """One game. A point is (row, column); a move is a point or None for a pass."""

    def __init__(self, size):
        self.size = size
        self.stones = {BLACK: set(), WHITE: set()}
        self.turn = BLACK
        self.ko = None
        self.passes = 0
        self.captured = {BLACK: 0, WHITE: 0}
        self.boards = []  # after every move so far, passes excluded
        self.repeated = False

    def all_points(self):
        return [(row, column) for row in range(self.size) for column in range(self.size)]

    def around(self, point):
        row, column = point
        places = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
        return [(r, c) for r, c in places if 0 <= r < self.size and 0 <= c < self.size]

    def empty(self, point):
        return point not in self.stones[BLACK] and point not in self.stones[WHITE]

    def spread(self, start, inside):
        """All points connected to `start` through points in `inside`, and those next to them that are not in it."""
        found, edge, waiting = {start}, set(), [start]
        while waiting:
            for point in self.around(waiting.pop()):
                if point not in inside:
                    edge.add(point)
                elif point not in found:
                    found.add(point)
                    waiting.append(point)
        return found, edge

    def liberties(self, point):
        """The empty points that the chain of the stone at this point touches."""
        colour = BLACK if point in self.stones[BLACK] else WHITE
        _, edge = self.spread(point, self.stones[colour])
        return edge - self.stones[-colour]

    def captures(self, point, colour):
        """The enemy stones that a stone there takes away: of the chains whose last liberty it is."""
        taken = set()
        for other in self.around(point):
            if other in self.stones[-colour] and other not in taken:
                chain, edge = self.spread(other, self.stones[-colour])
                if not edge - self.stones[colour] - {point}:
                    taken |= chain
        return taken

    def is_legal(self, point):
        if not self.empty(point) or point == self.ko:
            return False
        if any(self.empty(other) for other in self.around(point)) or self.captures(point, self.turn):
            return True
        _, edge = self.spread(point, self.stones[self.turn] | {point})
        return bool(edge - self.stones[-self.turn])

    def play(self, point):
        self.repeated = False
        if point is None:
            self.passes += 1
            self.ko = None
        else:
            self.passes = 0
            self._place(point)
        self.turn = -self.turn

    def _place(self, point):
        taken = self.captures(point, self.turn)
        self.stones[-self.turn] -= taken
        self.stones[self.turn].add(point)
        self.captured[self.turn] += len(taken)
        # A ko: a stone of its own takes one stone, and that one alone could take it back.
        chain, edge = self.spread(point, self.stones[self.turn])
        alone = len(chain) == 1 and edge - self.stones[-self.turn] == taken
        self.ko = next(iter(taken)) if len(taken) == 1 and alone else None
        board = frozenset(self.stones[BLACK]), frozenset(self.stones[WHITE])
        self.repeated = board in self.boards
        self.boards.append(board)

    def areas(self):
        """Black's and white's: stones, and empty regions that touch one colour only."""
        area = {colour: len(stones) for colour, stones in self.stones.items()}
        empty = {point for point in self.all_points() if self.empty(point)}
        while empty:
            region, edge = self.spread(next(iter(empty)), empty)
            empty -= region
            for colour in (BLACK, WHITE):
                if edge and edge <= self.stones[colour]:
                    area[colour] += len(region)
        return area[BLACK], area[WHITE]
