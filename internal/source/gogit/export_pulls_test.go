package gogit

// SetLimit bounds what is kept of pull requests, and what one may become.
func (p *Pulls) SetLimit(bytes int64) { p.limit, p.limits.inflated = bytes, 4*bytes }
