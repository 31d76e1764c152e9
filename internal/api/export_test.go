package api

import "github.com/gin-gonic/gin"

// Routes returns the routes of the handler that New returns for c.
func Routes(c Config) gin.RoutesInfo { return newServer(c).engine().Routes() }
