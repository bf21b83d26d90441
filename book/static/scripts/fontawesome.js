// Stands in for the theme's 1.5 MB of all icons as SVG; its style sheet has them as a font.
