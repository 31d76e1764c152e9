package api

import "github.com/gin-gonic/gin"

// Routes are those that the handler of c serves.
func Routes(c Config) gin.RoutesInfo { return newServer(c).engine().Routes() }
