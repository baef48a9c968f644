package nemesis

import "context"

// databases are faults of the database that nodes make users in.
var databases = []Fault{
	{Name: "db-stop", Group: "database", database: true, do: databaseStop},
	{Name: "db-pause", Group: "database", database: true, do: databasePause},
	{Name: "db-full", Group: "database", database: true, do: databaseFull},
	{Name: "db-cut", Group: "database", database: true, do: databaseCut},
}

// theDatabase stands among the claims for the database.
const theDatabase = -1

// database claims it.
func (s *Scene) database() error {
	if !s.Claim(theDatabase) {
		return errNobody
	}
	s.claimed = append(s.claimed, theDatabase)
	return nil
}

// databaseStop ends the database at once, and starts it again.
func databaseStop(ctx context.Context, s *Scene) error {
	if err := s.database(); err != nil {
		return err
	}
	if err := s.DB.Stop(); err != nil {
		return err
	}
	wait(ctx, s.hold)
	return s.DB.Start()
}

// databasePause has it take requests, and neither do nor refuse anything.
func databasePause(ctx context.Context, s *Scene) error {
	if err := s.database(); err != nil {
		return err
	}
	s.DB.Pause()
	wait(ctx, s.hold)
	s.DB.Resume()
	return nil
}

// databaseFull takes all connections that are left, again and again.
func databaseFull(ctx context.Context, s *Scene) error {
	if err := s.database(); err != nil {
		return err
	}
	full, cancel := context.WithTimeout(ctx, s.hold)
	defer cancel()
	for full.Err() == nil {
		s.DB.Crowd(full)
		wait(full, s.hold/8)
	}
	s.DB.Disperse()
	return nil
}

// databaseCut cuts some nodes off from the database, one way or both.
func databaseCut(ctx context.Context, s *Scene) error {
	oneWay := s.rng.IntN(3) == 0
	for _, i := range s.rng.Perm(len(s.Hosts))[:1+s.rng.IntN(len(s.Hosts))] {
		if oneWay { // what it is told is done, and nobody hears of it
			s.Net.CutOneWay(s.DB.Host, s.Hosts[i])
		} else {
			s.Net.Cut(s.DB.Host, s.Hosts[i])
		}
	}
	return s.held(ctx)
}
